# shellcheck shell=bash
# udp:// through libzmq sockets, side by side with bare UDP sockets (one message in each datagram,
# one way 32 of them in a system call) and with what the original did. bench/run reads this.
#
# BENCH_SIZES    bodies in bytes, "10 100 400" by default

sizes=${BENCH_SIZES:-10 100 400}
export VTX_UDP_BROADCAST=127.255.255.255

udp_build () {
    local flags
    read -ra flags < <(PKG_CONFIG_PATH=build pkg-config --cflags --libs vtx)
    compile bare_pingpong
    compile bare_oneway
    compile vtx_perf "${flags[@]}"
}

# Each measurement below sets rate: of round trips, or of messages received; and the one-way ones
# also set share, the part received of what was sent.

# pingpong CLIENT ARGUMENT...: against what began last
pingpong () {
    local server=$pid
    launch "$work/received.0" "$@"
    await "$pid"
    finish "$server"
    rate=$(value rate < "$work/received.0")
}

# vtx_pingpong SIZE [OPTIONS]: as they stand in the client's endpoint
vtx_pingpong () {
    begin vtx_perf reqrep server 'udp://127.0.0.1:*' "$1" "$seconds"
    pingpong vtx_perf reqrep client "$endpoint${2:-}" "$1" "$seconds"
}

bare_pingpong () {
    begin bare_pingpong server
    pingpong bare_pingpong client "$endpoint" "$1" "$seconds"
}

# vtx_oneway MODE SIZE RATE RECEIVERS
vtx_oneway () {
    local sender receivers=() i
    begin vtx_perf "$1" server 'udp://127.0.0.1:*' "$2" "$seconds" "$3" "$4"
    sender=$pid
    for ((i = 0; i < $4; i++)); do
        launch "$work/received.$i" vtx_perf "$1" client "$endpoint" "$2" "$seconds"
        receivers+=("$pid")
    done
    cat <&3 > "$work/sent"
    await "$sender" "${receivers[@]}"
    count_oneway "$4"
}

# bare_oneway SIZE RATE RECEIVERS
bare_oneway () {
    local ports=() descriptors=() receivers=() fd i
    for ((i = 0; i < $3; i++)); do
        begin bare_oneway receiver
        receivers+=("$pid")
        ports+=("$endpoint")
        exec {fd}<&3
        descriptors+=("$fd")
    done
    launch "$work/sent" bare_oneway sender "$1" "$seconds" "$2" "${ports[@]}"
    await "$pid"
    for i in "${!descriptors[@]}"; do
        fd=${descriptors[i]}
        cat <&"$fd" > "$work/received.$i"
        exec {fd}<&-
    done
    await "${receivers[@]}"
    count_oneway "$3"
}

# The slowest of the receivers counts
count_oneway () {
    local i files=()
    for ((i = 0; i < $1; i++)); do files+=("$work/received.$i"); done
    rate=$(cat "${files[@]}" | value rate)
    share=$(echo "$(cat "${files[@]}" | value count) $(value count < "$work/sent")" | awk '{ print $1 / $2 }')
}

udp_round () {
    local size ours bare
    for size in $sizes; do
        vtx_pingpong "$size";               note "$rate" "REQ/REP" "$size" vtx
        vtx_pingpong "$size" '?plain=only'; note "$rate" "REQ/REP" "$size" plain
        bare_pingpong "$size";              note "$rate" "REQ/REP" "$size" bare

        vtx_oneway pushpull "$size" 0 1;    note "$rate" "PUSH-PULL" "$size" vtx
        ours=$rate
        bare_oneway "$size" 0 1;            note "$rate" "PUSH-PULL" "$size" bare
        bare=$rate
        vtx_oneway pushpull "$size" $((ours / 2)) 1;  note "$share" "share" "$size" vtx
        bare_oneway "$size" $((bare / 2)) 1;          note "$share" "share" "$size" bare

        vtx_oneway pubsub "$size" 0 2;      note "$rate" "PUB-2-SUB" "$size" vtx
        bare_oneway "$size" 0 2;            note "$rate" "PUB-2-SUB" "$size" bare
    done
}

udp_table () { awk -f bench/stats.awk -f bench/udp.awk "$results"; }
