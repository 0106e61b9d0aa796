# shellcheck shell=bash
# The same libzmq sockets over VTX's streams and over libzmq's own, side by side. bench/run
# reads this.
#
# BENCH_TRANSPORTS      "tcp ipc" by default
# BENCH_STREAM_TESTS    "pushpull reqrep pubsub footprint" by default
# BENCH_STREAM_SIZES    of PUSH to PULL, "1 10 100 1000 10000 65536 1048576" by default
# BENCH_REQREP_SIZES    "1 1000" by default
# BENCH_SUBS            how many for one PUB, "1 10 100" by default
# BENCH_PEERINGS        whose memory is taken, "1 100 1000" by default
# BENCH_PAIRS           who talks to whom, "vtx-vtx zmq-zmq" by default: the one that binds and
#                       sends, replies or publishes, then the other; vtx-zmq and zmq-vtx are
#                       possible. The last pair is what the others are held against. The second
#                       of footprint is always zmq.

transports=${BENCH_TRANSPORTS:-tcp ipc}
stream_tests=${BENCH_STREAM_TESTS:-pushpull reqrep pubsub footprint}
stream_sizes=${BENCH_STREAM_SIZES:-1 10 100 1000 10000 65536 1048576}
reqrep_sizes=${BENCH_REQREP_SIZES:-1 1000}
subs=${BENCH_SUBS:-1 10 100}
peerings=${BENCH_PEERINGS:-1 100 1000}
read -ra pairs <<< "${BENCH_PAIRS:-vtx-vtx zmq-zmq}"

streams_build () {
    local pair
    [ ${#pairs[@]} -gt 1 ] || die "BENCH_PAIRS: at least two are to be compared"
    for pair in "${pairs[@]}"; do
        [[ $pair =~ ^(vtx|zmq|bare)-(vtx|zmq|bare)$ ]] || die "BENCH_PAIRS: $pair is no pair"
    done
    compile stream_perf -Iinclude -lzmq -ldl
}

# free_endpoint TRANSPORT: sets endpoint to one that nobody had before. For tls, libzmq has CURVE.
used=0
free_endpoint () {
    case $1 in
        tls) endpoint='tls://127.0.0.1:*' ;;
        tcp) endpoint='tcp://127.0.0.1:*' ;;
        ipc) endpoint=ipc://$work/$((++used)) ;;
        *) die "BENCH_TRANSPORTS: $1 is not among tcp and ipc" ;;
    esac
}

# stream TRANSPORT PAIR MODE SIZE [COUNT]: the client's output goes to $work/client
stream () {
    local server
    free_endpoint "$1"
    side "${2%-*}" "$1"
    begin "$program" "${2%-*}" "$3" server "$endpoint" "$4" "$seconds"
    server=$pid
    side "${2#*-}" "$1"
    launch "$work/client" "$program" "${2#*-}" "$3" client "$endpoint" "$4" "$seconds" "${@:5}"
    await "$pid"
    finish "$server"
}

# side NAME TRANSPORT: sets program to the one for that side, and endpoint to how it says it
side () {
    program=stream_perf
    case $1/$2 in
        bare/*) program=bare ;;
        zmq/tls) endpoint=${endpoint/#tls:/curve:} ;;
    esac
}

# Each of these takes TRANSPORT SIZE INDEX: of a pair in pairs

stream_pushpull () {
    stream "$1" "${pairs[$3]}" pushpull "$2"
    keep rate rate "$@" < "$work/client"
}

stream_reqrep () {
    stream "$1" "${pairs[$3]}" reqrep "$2"
    keep rate trips "$@" < "$work/client"
    keep median median "$@" < "$work/client"
    keep p99 p99 "$@" < "$work/client"
}

stream_pubsub () {
    stream "$1" "${pairs[$3]}" pubsub 100 "$2"
    keep rate delivered "$@" < "$work/client"
    keep share share "$@" < "$work/client"
}

# The client stays until the server has told its figures
stream_footprint () {
    local server told name
    free_endpoint "$1"
    begin stream_perf "${pairs[$3]%-*}" footprint server "$endpoint" 10 "$seconds" "$2"
    server=$pid
    launch "$work/client" stream_perf zmq footprint client "$endpoint" 10 "$seconds" "$2"
    read -r told <&3 || die "footprint of $2 over $1: a process failed"
    finish "$pid" "$server"
    for name in each memory threads; do keep "$name" "$name" "$@" <<< "$told"; done
}

# keep NAME METRIC TRANSPORT SIZE INDEX: note NAME of standard input
keep () { note "$(value "$1")" "${@:2:3}" $(($5 + 1)); }

streams_round () {
    local transport test size list i order=("${!pairs[@]}")
    # What goes first finds the machine as another left it: every second round the other way
    if (($1 % 2 == 0)); then
        for i in "${!pairs[@]}"; do order[i]=$((${#pairs[@]} - 1 - i)); done
    fi
    for transport in $transports; do
        for test in $stream_tests; do
            case $test in
                pushpull) list=$stream_sizes ;;
                reqrep) list=$reqrep_sizes ;;
                pubsub) list=$subs ;;
                footprint) list=$peerings ;;
                handshake) list=1 ;;
                *) die "BENCH_STREAM_TESTS: there is no $test" ;;
            esac
            for size in $list; do
                for i in "${order[@]}"; do "stream_$test" "$transport" "$size" "$i"; done
            done
        done
    done
}

streams_table () { awk -v pairs="${pairs[*]}" -f bench/stats.awk -f bench/streams.awk "$results"; }
