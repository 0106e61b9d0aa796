# Reads lines "metric transport size pair figure", those of one metric, transport, size and pair
# in the order of the rounds. A pair is a number; its name stands in pairs, and the last one is
# what the others are held against. Prints medians and ratios, and whether PUSH to PULL is as
# fast at each size: exit status 1 if it is not. Needs stats.awk.

function describe(metric, words, unit, numbers) {
    metrics[++described] = metric
    title[metric] = words
    column[metric] = unit
    form[metric] = numbers
}

BEGIN {
    count = split(pairs, name, " ")
    describe("rate", "PUSH to PULL over %s, messages a second", "bytes", "%12.0f")
    describe("trips", "REQ/REP over %s, round trips a second", "bytes", "%12.0f")
    describe("median", "REQ/REP over %s, median round trip, microseconds", "bytes", "%12.1f")
    describe("p99", "REQ/REP over %s, 99th percentile, microseconds", "bytes", "%12.1f")
    describe("delivered", "PUB to SUBs over %s, messages delivered a second", "SUBs", "%12.0f")
    describe("share", "PUB to SUBs over %s, share delivered of what was published", "SUBs", "%12.4f")
    describe("each", "Idle peerings over %s, KiB for each", "peerings", "%12.1f")
    describe("memory", "Idle peerings over %s, resident KiB of the process that bound", "peerings", "%12.0f")
    describe("threads", "Idle peerings over %s, threads of the process that bound", "peerings", "%12.0f")
}

{
    key = $1 " " $2 " " $3
    if (!(key in known)) {
        known[key] = 1
        sizes[$1, $2] = sizes[$1, $2] " " $3
    }
    if (!($2 in transports)) {
        transports[$2] = 1
        order[++last] = $2
    }
    add(key " " $4, $5)
}

function table(metric, transport,    n, size, s, p, key, r, ours, theirs) {
    n = split(sizes[metric, transport], size, " ")
    if (!n)
        return
    printf "\n" title[metric] "\n", transport
    printf "%8s  %-8s %12s %12s   %s\n", column[metric], "pair", "median", name[count], "ratio (min-max)"
    for (s = 1; s <= n; s++)
        for (p = 1; p < count; p++) {
            key = metric " " transport " " size[s] " "
            r = ratio(key p, key count)
            ours = sprintf(form[metric], median(key p))
            theirs = sprintf(form[metric], median(key count))
            printf "%8d  %-8s %s %s   %5.2f  (%.2f-%.2f)\n", size[s], name[p], ours, theirs, r, least, most
            if (metric == "rate") {
                missed += r < 1
                verdict[++verdicts] = sprintf("%4s  %-5s %8d bytes  %-8s %5.2f", r < 1 ? "FAIL" : "PASS", transport,
                    size[s], name[p], r)
            }
        }
}

END {
    for (t = 1; t <= last; t++)
        for (m = 1; m <= described; m++)
            table(metrics[m], order[t])
    if (verdicts)
        printf "\nPUSH to PULL at least as fast as %s\n", name[count]
    for (v = 1; v <= verdicts; v++)
        print verdict[v]
    exit missed > 0
}
