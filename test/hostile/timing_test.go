package hostile

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const (
	timed     = 20_000 // names of each kind
	different = 4.0    // standard deviations, which chance alone exceeds once in 16,000 times
)

// Known and unknown names look the same, and in all of the attack they take the same time, in both phases. They come in
// pairs of one each, in random order, so that whatever else the machine does hits both.
func TestNamesCannotBeTold(t *testing.T) {
	each(t, logins, func(t *testing.T, x *transport) {
		s := newStage(t, x, &sasl, []part{parts[0]})
		n, random := max(40, portion(timed)), chance(t, 0)
		// They stand between each other in any order that the server may keep, and are asked for in none
		order := [2][]int{random.Perm(n), random.Perm(n)}
		known := func(i int) string { return fmt.Sprintf("user%08d", 2*order[1][i]) }
		unknown := func(i int) string { return fmt.Sprintf("user%08d", 2*order[0][i]+1) }
		s.manyUsers(n, known)
		var times [2][2][]time.Duration // by phase, and by whether the name is known
		from := random.Uint32()
		for i := range n {
			var shapes [2]string
			var refusals [2][]byte
			turn := random.IntN(2)
			for j := range 2 {
				which := (turn + j) % 2
				user := []string{unknown(i), known(i)}[which]
				from++
				challenge, refusal, took := s.guess(user, from)
				shapes[which], refusals[which] = shape(challenge), refusal
				for phase := range 2 {
					times[phase][which] = append(times[phase][which], took[phase])
				}
			}
			if shapes[0] != shapes[1] || !bytes.Equal(refusals[0], refusals[1]) {
				s.fail("%s: %s, %q; %s: %s, %q", unknown(i), shapes[0], refusals[0], known(i), shapes[1], refusals[1])
			}
		}
		s.served()
		for phase := range 2 {
			compare(t, fmt.Sprintf("phase %d", phase+1), times[phase][0], times[phase][1])
		}
	})
}

// compare fails if two samples differ; of few it only shows them.
func compare(t *testing.T, what string, a, b []time.Duration) {
	t.Helper()
	z, planted := mannWhitney(a, b), smallestFound(a, b)
	t.Logf("%s: medians %v and %v, z = %.2f; a difference of %s would be found", what, median(a), median(b), z, planted)
	if *share < 1 {
		return // a busy machine, and too few to say anything
	}
	if math.Abs(z) > different {
		t.Errorf("%s: known and unknown names differ, z = %.2f", what, z)
	}
	if planted == "" {
		t.Errorf("%s: not even 10 %% would be found: the statistic says nothing", what)
	}
}

// smallestFound is the smallest of some planted differences that the statistic sees in these samples.
func smallestFound(a, b []time.Duration) string {
	mid := median(b)
	for _, percent := range []float64{0.5, 1, 2, 5, 10} {
		shifted := slices.Clone(b)
		more := time.Duration(float64(mid) * percent / 100)
		for i := range shifted {
			shifted[i] += more
		}
		if z := mannWhitney(a, shifted); math.Abs(z) > different {
			return fmt.Sprintf("%g %% (%v)", percent, more)
		}
	}
	return ""
}

func median(a []time.Duration) time.Duration { return slices.Sorted(slices.Values(a))[len(a)/2] }

// mannWhitney is the z value of Mann and Whitney's U: how many standard deviations the ranks of b are from where they
// would be if both samples came from one source. It minds no outliers.
func mannWhitney(a, b []time.Duration) float64 {
	type one struct {
		d time.Duration
		b bool
	}
	all := make([]one, 0, len(a)+len(b))
	for _, d := range a {
		all = append(all, one{d, false})
	}
	for _, d := range b {
		all = append(all, one{d, true})
	}
	slices.SortFunc(all, func(x, y one) int { return int(x.d - y.d) })
	var ranks, ties float64
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].d == all[i].d {
			j++
		}
		rank, same := float64(i+j+1)/2, float64(j-i)
		for _, x := range all[i:j] {
			if x.b {
				ranks += rank
			}
		}
		ties += same*same*same - same
		i = j
	}
	n, m := float64(len(a)), float64(len(b))
	u := ranks - m*(m+1)/2
	deviation := math.Sqrt(n * m / 12 * (n + m + 1 - ties/((n+m)*(n+m-1))))
	return (u - n*m/2) / deviation
}

// The statistic finds a difference that is there, and none that is not.
func TestStatistic(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	sample := func(more time.Duration) []time.Duration {
		s := make([]time.Duration, 20_000)
		for i := range s {
			s[i] = more + time.Duration(100_000*math.Exp(0.1*random.NormFloat64()))
			if random.IntN(50) == 0 {
				s[i] += time.Duration(random.IntN(10_000_000)) // somebody else's turn
			}
		}
		return s
	}
	a := sample(0)
	if z := mannWhitney(a, sample(0)); math.Abs(z) > different {
		t.Errorf("two samples of one source: z = %.2f", z)
	}
	if z := mannWhitney(a, sample(time.Microsecond)); z < different {
		t.Errorf("one microsecond of a hundred: z = %.2f", z)
	}
	if z := mannWhitney(a, a); math.Abs(z) > 1e-9 {
		t.Errorf("a sample and itself: z = %g", z)
	}
}
