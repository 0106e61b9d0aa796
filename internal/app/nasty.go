package app

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// Nasty is what a peer may say to whoever reads the log: it moves the cursor, begins a line of its own, turns the
// writing's direction, and is no UTF-8. NastyShown is how it is to be shown. It has 12 bytes.
const (
	Nasty      = "\x1b[2J\nok\x9b\u202e\a"
	NastyShown = `\x1b[2J\nok\x9b\u202e\a`
)

// Printable wants that a text can be shown to people as it is.
func Printable(t testing.TB, text string) {
	t.Helper()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		t.Errorf("shown as it came: %q", text)
	}
}
