# Reads what streams.awk reads; the pairs are VTX, bare TLS and libzmq's CURVE, in this order. Prints medians and
# ratios, and whether the bounds hold: exit status 1 if one does not. Needs stats.awk.

{
    key = $1 " " $3
    if (!((key) in known)) {
        known[key] = 1
        sizes[$1] = sizes[$1] " " $3
    }
    add(key " " $4, $5)
}

function table(metric, words, numbers,    n, size, s, key, line, p) {
    n = split(sizes[metric], size, " ")
    if (!n)
        return
    printf "\n%s\n%8s %12s %12s %12s   %s\n", words, "bytes", "tls://", "bare TLS", "CURVE", "ratio to bare (min-max), to CURVE (min-max)"
    for (s = 1; s <= n; s++) {
        key = metric " " size[s] " "
        line = sprintf("%8d", size[s])
        for (p = 1; p <= 3; p++)
            line = line " " sprintf("%12s", (key p) in rounds ? sprintf(numbers, median(key p)) : "-")
        for (p = 2; p <= 3; p++)
            if ((key p) in rounds) {
                r[metric, size[s], p] = ratio(key 1, key p)
                line = line sprintf("   %5.2f (%.2f-%.2f)", r[metric, size[s], p], least, most)
            }
        print line
    }
}

function bound(words, metric, size, p, least_ratio, most_ratio,    x) {
    if (!((metric, size, p) in r))
        return
    x = r[metric, size, p]
    held = x >= least_ratio && x <= most_ratio
    missed += !held
    printf "%4s  %5.2f  %s\n", held ? "PASS" : "FAIL", x, words
}

END {
    table("rate", "PUSH to PULL, messages a second", "%.0f")
    table("median", "REQ/REP, median round trip, microseconds", "%.1f")
    table("p99", "REQ/REP, 99th percentile, microseconds", "%.1f")
    table("handshakes", "Mutual handshakes a second, without resumption", "%.0f")
    print ""
    n = split(sizes["rate"], size, " ")
    for (s = 1; s <= n; s++)
        if (size[s] >= 100)
            bound("of CURVE's messages a second at " size[s] " bytes, at least 2", "rate", size[s], 3, 2, 1e9)
    bound("of bare TLS's bytes a second at 65536 bytes, at least 0.8", "rate", 65536, 2, 0.8, 1e9)
    n = split(sizes["median"], size, " ")
    for (s = 1; s <= n; s++)
        bound("of CURVE's round trip at " size[s] " bytes, at most 1.5", "median", size[s], 3, 0, 1.5)
    exit missed > 0
}
