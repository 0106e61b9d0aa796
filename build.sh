#!/usr/bin/env bash
# Builds, shows and tests VTX: ./build.sh help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# No broadcast of ours leaves this machine
export VTX_UDP_BROADCAST=127.255.255.255
export CGO_ENABLED=1

part () { sed -n "s/^#define VTX_VERSION_$1 //p" internal/header/vtx.h.in; }
VERSION=$(part MAJOR).$(part MINOR).$(part PATCH)
SONAME=libvtx.so.${VERSION%%.*}

help () {
    cat <<'END'
usage: ./build.sh VERB

  so               build/libvtx.so, build/vtx.pc and build/vtx-passwd
  drivertest       build/vtx-drivertest, the conformance program for drivers in C
  demo             build, then run the documented client and server for some seconds
  test             every test, with a summary
  lint             gofmt, go vet, shellcheck, C with all warnings
  interop          the tests with other ZeroMQ libraries as peers
  race             the Go tests under the race detector
  fuzz [SECONDS]   every fuzz target for that long, 30 by default
  soak [SECONDS]   the soak test, 600 by default
  attack [FLAG...] all of the attacks of test/hostile; -seed N, -run NAME and others as for go test
  bench [CASE...]  VTX beside libzmq and the bare kernel, into bench/results; -help lists the cases
  install          to $DESTDIR$PREFIX; PREFIX is /usr/local by default
  clean            remove build/
  help             this

Each installs the Debian packages that it lacks when run as root, and names them otherwise.
END
}

say () { printf '\n== %s\n' "$*"; }
die () { printf '%s\n' "$*" >&2; exit 1; }

# need PACKAGE...: make sure that these Debian packages are there
need () {
    command -v go >/dev/null || die "Go is missing: https://go.dev/dl/"
    command -v dpkg-query >/dev/null || return 0        # another system: trust it
    local missing=() package
    for package; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) in
            installed) ;;
            *) missing+=("$package") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "Please run: sudo apt-get install -y --no-install-recommends ${missing[*]}"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends "${missing[@]}"
}
need_so () { need gcc libc6-dev libzmq3-dev libsodium-dev pkg-config "$@"; }
need_c () { need_so libczmq-dev cmake make g++ binutils "$@"; }
need_interop () {
    need_so libczmq-dev python3 python3-zmq stunnel4 haproxy
    ! command -v java >/dev/null || need libjeromq-java         # where there is a JVM
}

header () { go run ./internal/header -check; }

so () {
    header
    mkdir -p build
    local link="-Wl,-soname,$SONAME -Wl,-z,nodelete -Wl,--version-script=$PWD/capi/libvtx.map"
    # Into a place of its own, since Go writes a header beside it that nobody wants
    go build -buildmode=c-shared -ldflags "-extldflags '$link'" -o build/go/libvtx.so ./capi
    # Replaced in one step, and only if it changed: a running program may have it mapped
    if ! cmp -s build/go/libvtx.so "build/libvtx.so.$VERSION"; then
        cp build/go/libvtx.so build/libvtx.so.new
        mv build/libvtx.so.new "build/libvtx.so.$VERSION"
    fi
    ln -sf "libvtx.so.$VERSION" "build/$SONAME"
    ln -sf "$SONAME" build/libvtx.so
    # It needs neither libvtx nor libzmq
    CGO_ENABLED=0 go build -o build/vtx-passwd ./cmd/vtx-passwd
    # For programs built against this tree; installing makes one for the installed copy
    sed "s|@libdir@|$PWD/build|; s|@includedir@|$PWD/include|; s|@version@|$VERSION|" \
        cmake/vtx.pc.in > build/vtx.pc
}

# drivertest [race|tsan]: the engine, its C API and the conformance suite in one program; into build/race with Go's race
# detector, into build/tsan with the thread sanitizer over all C. A driver's library wants libvtx.so.1: an empty one
# tells the loader that it is there.
drivertest () {
    local dir=build flags=()
    if [ $# = 1 ]; then
        dir=build/$1
        case $1 in
            race) flags=(-race) ;;
            tsan) local -x CGO_CFLAGS="-O1 -g -fsanitize=thread" CGO_LDFLAGS="-fsanitize=thread" ;;
            *) die "drivertest: race or tsan, not $1" ;;
        esac
    fi
    mkdir -p "$dir/drivertest"
    gcc -shared -o "$dir/drivertest/$SONAME" -Wl,-soname,"$SONAME" -x c /dev/null
    local link="-rdynamic -Wl,--no-as-needed $PWD/$dir/drivertest/$SONAME -Wl,-rpath,\$ORIGIN/drivertest"
    go build "${flags[@]}" -tags drivertest -ldflags "-extldflags '$link'" -o "$dir/vtx-drivertest" ./capi
}

# The examples and C tests, without ctest running anything
c_programs () {
    cmake -S . -B build/cmake -DCMAKE_BUILD_TYPE=Debug "$@" >build/cmake.log || { cat build/cmake.log; return 1; }
    cmake --build build/cmake --parallel 2
}

demo () {
    mkdir -p build
    c_programs -DBUILD_TESTING=OFF
    say "client and server talk over udp:// for 5 seconds, by broadcast kept to loopback"
    # Each gets a Ctrl-C after 5 seconds, and is killed if that does not end it
    local server client limit="timeout --preserve-status -s INT -k 5 5"
    $limit build/cmake/c_examples/server > >(sed 's/^/server: /') & server=$!
    $limit build/cmake/c_examples/client > >(sed 's/^/client: /' | tee build/demo.log) & client=$!
    wait $client || die "the client did not end well: $?"
    wait $server || die "the server did not end well: $?"
    sleep 0.2                       # for the last lines
    grep -q '^client: ack' build/demo.log || die "no \"ack\" reached the client"
    say "the client found the server and got its \"ack\""
}

# ---------------------------------------------------------------------------
# The steps of "test". Each runs in a shell of its own, all run whatever fails.

results=()
step () {
    local name=$1 start=$SECONDS rc
    shift
    say "$name"
    set +e
    (set -e; "$@")
    rc=$?
    set -e
    case $rc in
        0) rc=ok ;;
        77) rc=skipped                  # what it lacks stands above
            skips step "$name" || rc=FAILED ;;
        *) rc=FAILED ;;
    esac
    results+=("$(printf '%-7s %5ds  %s' $rc $((SECONDS - start)) "$name")")
}

summary () {
    say summary
    printf '%s\n' "${results[@]}"
    ! printf '%s\n' "${results[@]}" | grep -q '^FAILED'
}

# What may be skipped stands in a list: any other skip is a failure
skips () { go run ./test/skips test/skips/allowed.txt "$@"; }

go_format () {
    local dirs bad
    mapfile -t dirs < <(for dir in . test/interop bench; do (cd $dir && go list -f '{{.Dir}}' ./...); done)
    bad=$(gofmt -l "${dirs[@]}")
    [ -z "$bad" ] || die "gofmt would change: $bad"
}

go_vet () {
    go vet ./... && go vet -tags drivertest ./capi
    for dir in test/interop bench; do (cd $dir && go vet ./...); done
}
# The two that take longest first: they would be the last, and one processor idle
go_tests () {
    local packages
    mapfile -t packages < <(go list ./... | grep -v '/test/hostile$')       # a step of its own
    go test -race -json -timeout 20m ./vtx ./drivers/udp "${packages[@]}" | skips
}
# Streams by goroutines instead of the polling thread: see vtx/greet.go
unpumped () { VTX_PUMP=off go test -json -timeout 10m ./vtx ./drivers/tcp ./drivers/ipc | skips; }

# A module of its own: nobody who uses VTX is to depend on the other libraries
interop () { (cd test/interop && go test -json -timeout 15m ./...) | skips; }

# attack SHARE [FLAG...]: the attacks, or a part of each
attack () {
    local share=$1
    shift
    go test -count=1 -v -timeout 90m ./test/hostile "$@" -args -share "$share"
}

# vtxperf, bare and the runner, into build/bench. A module of its own: nobody who uses VTX is to depend on a plotting
# library.
bench_programs () {
    local c="gcc -std=c99 -O2 -Wall -Wextra -Wshadow -Werror -Iinclude"
    mkdir -p build/bench
    $c -o build/bench/vtxperf bench/vtxperf.c bench/subscriptions.c bench/sockets.c bench/measure.c -lzmq -ldl -lm -pthread "-Wl,-rpath,$PWD/build"
    $c -o build/bench/bare bench/bare.c bench/measure.c -lm
    (cd bench && go build -o ../build/bench/ ./...)
}

# Whether every case can be measured; the figures of so short a run mean nothing
bench_tests () {
    bench_programs
    (cd bench && go test -race -json ./...) | skips
    build/bench/runner -rounds 1 -seconds 0.05 -sizes 100 -counts 2 > build/bench/short.txt
}

bench () {
    so
    bench_programs
    build/bench/runner "$@"
}

# All C under Go, with more warnings than a user's compiler has to agree to
c_warnings () {
    CGO_CFLAGS="-O2 -Wall -Wextra -Wshadow -Wno-unused-parameter -Werror" go build -o /dev/null ./capi
}

abi () {
    nm -D --defined-only build/libvtx.so | awk '{ print $3 }' | LC_ALL=C sort > build/symbols.txt
    diff -u capi/symbols.txt build/symbols.txt
    readelf -d build/libvtx.so | grep -q "SONAME.*\[$SONAME\]"
    # libzmq is the only library of ZeroMQ that it needs
    ! readelf -d build/libvtx.so | grep -q 'NEEDED.*czmq'
}

c_tests () {
    drivertest
    drivertest race
    drivertest tsan
    c_programs -DBUILD_TESTING=ON
    ctest --test-dir build/cmake --output-on-failure --parallel 2 --no-tests=error
}

# Go before 1.27 may call the end of the time a failure (golang/go#75804); what a fuzz target really finds is a failing
# input
fuzz_found_nothing () {
    if grep -q '^ *context deadline exceeded' build/fuzz.log && ! grep -q 'ailing input' build/fuzz.log; then
        echo "no failing input; go test took the end of the time for a failure"
        return
    fi
    cat build/fuzz.log
    return 1
}

fuzz_each () {
    local seconds=$1 file name
    mkdir -p build
    while IFS=: read -r file name; do
        name=${name#func }
        name=${name%%(*}
        say "$(dirname "$file") $name"
        go test "$(dirname "$file")" -run '^$' -fuzz "^$name\$" -fuzztime "${seconds}s" </dev/null 2>&1 |
            tee build/fuzz.log | sed -un '/^fuzz:/p' || fuzz_found_nothing
    done < <(grep -rE '^func Fuzz' --include='*_test.go' --exclude-dir=build .)
}

# hook FILE ARGUMENT...: run a part of the tree that stands by itself
hook () {
    [ -x "$1" ] || die "there is no $1 in this tree"
    "$@"
}

test_all () {
    need_c openssl ruby ruby-ffi ruby-ffi-rzmq iproute2 nftables gsasl sasl2-bin libsasl2-modules
    need_interop
    mkdir -p build
    step "gofmt" go_format
    step "go vet" go_vet
    step "vtx.h is fresh" header
    step "libvtx.so" so
    step "exported symbols" abi
    step "header in C and C++" test/install/headers
    step "C tests" c_tests
    step "demo" demo
    step "an installed copy" test/install/run
    step "the README's program" hook test/readme/run
    step "the drivers' tutorial" hook test/tutorial/run
    step "other languages" hook test/ffi/run
    step "two hosts" hook test/netns/run
    step "Go tests" go_tests
    step "Go tests without the pump" unpumped
    step "the benchmark" bench_tests
    step "other libraries" interop
    step "hostile, shortly" attack 0.01
    step "fuzz, shortly" fuzz_each 5
    summary
}

lint () {
    need_c shellcheck
    step "gofmt" go_format
    step "go vet" go_vet
    step "shellcheck" shellcheck -x -a build.sh .ci/run test/{install,ffi,netns,soak,readme,tutorial}/run test/install/headers test/c/conformance
    step "C under Go" c_warnings
    step "the benchmark" bench_programs
    step "header in C and C++" test/install/headers
    summary
}

install_all () {
    need_c
    : "${PREFIX:=/usr/local}"
    mkdir -p build
    c_programs -DCMAKE_INSTALL_PREFIX="$PREFIX" -DBUILD_TESTING=OFF
    cmake --install build/cmake
    # The loader's cache, where it is the system itself that we installed into
    [ -n "${DESTDIR:-}" ] || [ "$(id -u)" != 0 ] || ldconfig
}

verb=${1:-help}
shift || true
case $verb in
    so) need_so; so ;;
    drivertest) need_so; drivertest "$@" ;;
    demo) need_c; demo ;;
    test) test_all ;;
    lint) lint ;;
    interop) need_interop; interop ;;
    race) need_so libczmq-dev gsasl sasl2-bin libsasl2-modules; go_tests ;;
    fuzz) need_so; fuzz_each "${1:-30}" ;;
    soak) need_c; mkdir -p build; so; hook test/soak/run "${1:-600}" ;;
    attack) need_so; so; attack 1 "$@" ;;
    bench) need_so; bench "$@" ;;
    install) install_all ;;
    clean) rm -rf build ;;
    help) help ;;
    *) help >&2; exit 1 ;;
esac
