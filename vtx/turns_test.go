package vtx

import (
	"testing"
	"time"
)

// step is what happens to a pipe, so many milliseconds after the one before.
type step struct {
	after int
	what  string // full, stirred, rested
	rests bool   // whether the pipe rests then
}

func TestTurns(t *testing.T) {
	for name, steps := range map[string][]step{
		"a pipe that never was full does not rest": {{0, "stirred", false}, {9999, "stirred", false}},
		"one that is filled up for a turn rests until it is empty": {
			{0, "full", false}, {20, "stirred", false}, {0, "full", false}, {20, "stirred", false}, {0, "full", false},
			{20, "stirred", true}, {1, "stirred", true}, {30, "rested", false},
			{0, "full", false}, {20, "stirred", false}, {0, "full", false}, {20, "stirred", false}, {0, "full", false},
			{20, "stirred", true},
		},
		"an application that was away has its turn from when it comes back": {
			{0, "full", false}, {5000, "stirred", false}, {0, "full", false}, {20, "stirred", false}, {0, "full", false},
			{40, "stirred", true},
		},
		"a rest that belongs to the peer before ends nobody else's": {
			{0, "full", false}, {60, "stirred", true}, {0, "restart", false},
			{0, "full", false}, {60, "stirred", true}, {0, "first rested", true}, {0, "rested", false},
		},
	} {
		var x turns
		now, rounds := time.Unix(1, 0), []int{}
		for i, s := range steps {
			now = now.Add(time.Duration(s.after) * time.Millisecond)
			switch s.what {
			case "full":
				x.filled(now)
			case "stirred":
				if rest, round := x.stirred(now); rest > 0 {
					rounds = append(rounds, round)
				}
			case "rested":
				x.rested(rounds[len(rounds)-1])
			case "first rested":
				x.rested(rounds[0])
			case "restart":
				x.restart()
			}
			if x.rests() != s.rests {
				t.Errorf("%s: step %d, %s: rests is %v", name, i, s.what, x.rests())
			}
		}
	}
}

// A pipe rests as long as the half of it takes that has not been read.
func TestLengthOfARest(t *testing.T) {
	var x turns
	now := time.Unix(1, 0)
	x.filled(now)
	x.stirred(now)
	x.filled(now.Add(turn))
	rest, _ := x.stirred(now.Add(turn + 40*time.Millisecond))
	if rest < 40*time.Millisecond || rest > 80*time.Millisecond {
		t.Errorf("%v, want 40 ms and a little", rest)
	}
}
