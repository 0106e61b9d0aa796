# shellcheck shell=bash
# tls:// through libzmq sockets, beside libzmq's own tcp:// with CURVE and beside Go's TLS with nothing on it. The
# measurements are those of bench/streams.sh, which bench/run has read; both ends show certificates and verify them.
#
# BENCH_TLS_TESTS       "pushpull reqrep handshake" by default
# BENCH_TLS_SIZES       of PUSH to PULL, "10 100 1000 10000 65536 1048576" by default

tls_build () {
    transports=tls
    stream_tests=${BENCH_TLS_TESTS:-pushpull reqrep handshake}
    stream_sizes=${BENCH_TLS_SIZES:-10 100 1000 10000 65536 1048576}
    pairs=(vtx-vtx bare-bare zmq-zmq)
    streams_build
    go build -o "$out/bare" ./bench/bare
    export BENCH_TLS=$work BENCH_CURVE_PUBLIC BENCH_CURVE_SECRET
    "$out/bare" certs "$work"
    read -r BENCH_CURVE_PUBLIC BENCH_CURVE_SECRET < <("$out/stream_perf" keys)
}

# The client is always the bare one; libzmq has nothing to compare
stream_handshake () {
    local pair=${pairs[$3]}
    [ "$pair" != zmq-zmq ] || return 0
    stream "$1" "${pair%-*}-bare" handshake "$2"
    keep rate handshakes "$@" < "$work/client"
}

tls_round () { streams_round "$1"; }
tls_table () { awk -v pairs="${pairs[*]}" -f bench/stats.awk -f bench/tls.awk "$results"; }
