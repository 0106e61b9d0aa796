package printable

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestQuote(t *testing.T) {
	for text, want := range map[string]string{
		"":                        `""`,
		"no entry":                `"no entry"`,
		"a\nb\x1b[2J\x00":         `"a\nb\x1b[2J\x00"`,
		"\xff\x9b":                `"\xff\x9b"`,
		"Zo\u00eb \u202e\u0085":   `"Zo\u00eb \u202e\u0085"`,
		`"`:                       `"\""`,
		strings.Repeat("x", 1000): `"` + strings.Repeat("x", 100) + `"…`,
	} {
		if got := Quote(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"a sentence: \"a\\nb\" …": "a sentence: \"a\\nb\" …",
		"one\ntwo":                "one; two",
		"a\r\x1b[2J\x00\x7f":      `a\r\x1b[2J\x00\x7f`,
		"\xff\x9b\x05":            `\xff\x9b\x05`,
		"Zoë \u202e\u0085\ufffd":  "Zoë \\u202e\\u0085\ufffd",
	} {
		if got := Line(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := Line(strings.Repeat("ë\x00", MaxLine)); len(got) > MaxLine || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
		t.Errorf("%d bytes, the end %q", len(got), got[len(got)-20:])
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\nb\xff\x9b\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		for _, got := range []string{Line(text), Quote(text)} {
			if len(got) > MaxLine || !utf8.ValidString(got) || Line(got) != got {
				t.Errorf("%q: %q", text, got)
			}
		}
	})
}
