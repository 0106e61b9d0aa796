# Reads lines "test size who figure", those of one test, size and who in the order of the
# rounds, and prints medians, ratios and bounds. Exit status 1 if a bound is missed.
# Needs stats.awk.

{
    key = $1 " " $2 " " $3
    add(key, $4)
    if (!(($1 " " $2) in known)) {
        known[$1 " " $2] = 1
        if (!($1 in tests))
            order[++count] = $1
        tests[$1] = tests[$1] " " $2
    }
}

END {
    # The original's figures, from and to, on a machine of two cores
    from["REQ/REP"] = 6400;     to["REQ/REP"] = 7600
    from["PUSH-PULL"] = 44000;  to["PUSH-PULL"] = 52000
    from["PUB-2-SUB"] = 29000;  to["PUB-2-SUB"] = 36000
    # What to be measured against in the same run, and the least ratio. Two runs of the same differ by some per cent
    rival["REQ/REP"] = "plain";     bound["REQ/REP"] = 0.95
    rival["PUSH-PULL"] = "bare";    bound["PUSH-PULL"] = 1
    rival["PUB-2-SUB"] = "bare";    bound["PUB-2-SUB"] = 1
    least_share = 0.999
    title["REQ/REP"] = "REQ/REP, round trips a second"
    title["PUSH-PULL"] = "PUSH to PULL, messages received a second"
    title["PUB-2-SUB"] = "PUB to 2 SUB, messages a second at the slower one"

    for (t = 1; t <= count; t++) {
        test = order[t]
        if (test == "share")
            continue
        printf "\n%s\n", title[test]
        printf "%6s %9s %9s   %-22s %-22s %s\n", "bytes", "VTX", rival[test], "VTX/" rival[test] " (min-max)",
            "VTX/original", "at least " bound[test] " x " rival[test]
        n = split(tests[test], sizes, " ")
        for (s = 1; s <= n; s++) {
            key = test " " sizes[s]
            ours = median(key " vtx")
            r = ratio(key " vtx", key " " rival[test])
            good = r >= bound[test]
            missed += !good
            printf "%6d %9d %9d   %4.2f  (%.2f-%.2f)      %5.2f to %5.2f         %s\n", sizes[s], ours,
                median(key " " rival[test]), r, least, most, ours / to[test], ours / from[test],
                good ? "pass" : "FAIL"
        }
    }

    printf "\nREQ/REP beside bare sockets, round trips a second\n"
    n = split(tests["REQ/REP"], sizes, " ")
    for (s = 1; s <= n; s++)
        printf "%6d %9d %9d   %4.2f\n", sizes[s], median("REQ/REP " sizes[s] " vtx"), median("REQ/REP " sizes[s] " bare"),
            ratio("REQ/REP " sizes[s] " vtx", "REQ/REP " sizes[s] " bare")

    printf "\nPUSH to PULL at about half that rate: per cent received of what was sent (least of any round)\n"
    printf "%6s %20s %20s   %-22s at least %.1f\n", "bytes", "VTX", "bare", "VTX/bare (min-max)", 100 * least_share
    n = split(tests["share"], sizes, " ")
    for (s = 1; s <= n; s++) {
        r = ratio("share " sizes[s] " vtx", "share " sizes[s] " bare")
        good = median("share " sizes[s] " vtx") >= least_share
        missed += !good
        printf "%6d %11.2f (%6.2f) %11.2f (%6.2f)   %4.2f  (%.2f-%.2f)      %s\n", sizes[s],
            100 * median("share " sizes[s] " vtx"), 100 * worst("share " sizes[s] " vtx"),
            100 * median("share " sizes[s] " bare"), 100 * worst("share " sizes[s] " bare"), r, least, most,
            good ? "pass" : "FAIL"
    }
    exit missed > 0
}
