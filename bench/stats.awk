# What the tables have in common. figure[key, 1] to figure[key, rounds[key]] are the figures of
# one test, in the order of the rounds.

function add(key, value) {
    figure[key, ++rounds[key]] = value
}

function sort(list, n,    i, j, x) {
    for (i = 2; i <= n; i++) {
        x = list[i]
        for (j = i - 1; j >= 1 && list[j] > x; j--)
            list[j + 1] = list[j]
        list[j + 1] = x
    }
}

function middle(list, n) {
    sort(list, n)
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}

function median(key,    list, i) {
    for (i = 1; i <= rounds[key]; i++)
        list[i] = figure[key, i]
    return middle(list, rounds[key])
}

function worst(key,    i, least) {
    for (i = 1; i <= rounds[key]; i++)
        if (i == 1 || figure[key, i] < least)
            least = figure[key, i]
    return least
}

# The median of the ratio within each round; its smallest and largest stay in least and most
function ratio(one, other,    list, n, i, m) {
    n = rounds[one] < rounds[other] ? rounds[one] : rounds[other]
    for (i = 1; i <= n; i++)
        list[i] = figure[one, i] / figure[other, i]
    m = middle(list, n)
    least = list[1]
    most = list[n]
    return m
}
