// Package printable shows text that others have chosen to people: in events, in vtx_error's sentences, in errors. What a
// peer sends must not move a terminal's cursor, end a log's line, or fill the log. Text that programs are given as data
// (routing ids, user ids, metadata) stays as it is.
package printable

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxQuoted is how many bytes of a text are shown.
	maxQuoted = 100
	// MaxLine is the longest line, in bytes: more than an endpoint and a few quoted texts take.
	MaxLine = 2048
)

// Quote shows a text within a sentence: in quotation marks, in ASCII, with escapes for whatever is more than a character,
// and not endlessly long.
func Quote(text string) string {
	if len(text) > maxQuoted {
		return strconv.QuoteToASCII(text[:maxQuoted]) + "…"
	}
	return strconv.QuoteToASCII(text)
}

// Line makes a whole sentence fit for one line of a terminal or of a log. It is the last thing that is done to a sentence,
// and changes none whose texts have been quoted, but for the newlines that errors.Join puts between errors.
func Line(sentence string) string {
	var b strings.Builder
	for i, r := range sentence {
		var next string
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(sentence[i:], "\uFFFD"):
			next = `\x` + strconv.FormatUint(uint64(sentence[i])|0x100, 16)[1:]
		case r == '\n':
			next = "; "
		case strconv.IsPrint(r):
			next = string(r)
		default:
			next = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if b.Len()+len(next) > MaxLine-len("…") {
			return b.String() + "…"
		}
		b.WriteString(next)
	}
	return b.String()
}
