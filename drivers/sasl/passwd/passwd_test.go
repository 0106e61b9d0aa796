package passwd

import (
	"bytes"
	"crypto/hmac"
	"fmt"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// The user of RFC 7677's example. The two keys are those that gsasl --mkpasswd computes.
const example = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

const secret = "secret MDEyMzQ1Njc4OWFiY2RlZg==\n"

func TestVerifierIsWhatOthersCompute(t *testing.T) {
	f, err := Parse([]byte(secret + example + " user\n"))
	if err != nil {
		t.Fatal(err)
	}
	v, known := f.Lookup("user", "SCRAM-SHA-256")
	client, err := scram.SHA256.NewClient("user", "pencil", "")
	if err != nil {
		t.Fatal(err)
	}
	want, err := client.GetStoredCredentialsWithError(v.KeyFactors)
	if err != nil || !known || !hmac.Equal(v.StoredKey, want.StoredKey) || !hmac.Equal(v.ServerKey, want.ServerKey) {
		t.Errorf("known %v, %v: %x", known, err, v)
	}
	if !strings.Contains(string(f.Bytes()), "\n"+example+" user\n") {
		t.Errorf("written as %s", f.Bytes())
	}
}

// few makes a file whose users are quickly made.
func few(t *testing.T) *File {
	f := New()
	if err := f.SetIterations(MinIterations); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSetRemoveAndReadAgain(t *testing.T) {
	f := few(t)
	names := []string{"alice", "bob b", "c:d$e", "Zoë", "#x", "secret"}
	for _, name := range names {
		if err := f.Set(name, "pencil"); err != nil {
			t.Fatal(err)
		}
	}
	f.Set("\u2163", "pencil") // a Roman four, which SASLprep makes two letters of
	if !f.Remove("bob b") || f.Remove("bob") {
		t.Error("the wrong one was removed")
	}
	again, err := Parse(f.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(again.Users()); got != "[#x IV Zoë alice c:d$e secret]" {
		t.Errorf("users %s", got)
	}
	for _, name := range []string{"alice", "IV", "\u2163"} {
		for _, h := range Hashes {
			a, ok := again.Lookup(name, h.Name)
			b, _ := f.Lookup(name, h.Name)
			if !ok || a.KeyFactors != b.KeyFactors || !bytes.Equal(a.StoredKey, b.StoredKey) {
				t.Errorf("%s, %s: known %v", name, h.Name, ok)
			}
		}
	}
	if bytes.Contains(f.Bytes(), []byte("pencil")) || bytes.Contains(f.Bytes(), []byte("cGVuY2ls")) {
		t.Error("the password is in the file")
	}
	for _, bad := range [][2]string{{"", "p"}, {"a\x00b", "p"}, {"a", ""}, {"a", "p\x07"}, {strings.Repeat("a", 256), "p"}, {"a\nb", "p"}} {
		if err := f.Set(bad[0], bad[1]); err == nil || strings.Contains(err.Error(), bad[1]+"\x07") {
			t.Errorf("%.20q, %q: %v", bad[0], bad[1], err)
		}
	}
	for _, n := range []int{0, MinIterations - 1, MaxIterations + 1} {
		if f.SetIterations(n) == nil || f.Iterations() != MinIterations {
			t.Errorf("%d iterations were taken", n)
		}
	}
}

// What is wrong with a file is told by its line's number: a line may be a password.
func TestBadFiles(t *testing.T) {
	for what, content := range map[string]string{
		"nothing":              "",
		"no secret":            example + " user\n",
		"a short secret":       "secret aGFsbG8=\n",
		"two secrets":          secret + secret,
		"a password":           secret + "user:pencil\n",
		"another hash":         secret + strings.Replace(example, "256", "1", 1) + " user\n",
		"no user":              secret + example + "\n",
		"an empty user":        secret + example + " \n",
		"a user not prepared":  secret + example + " \u2163\n",
		"few iterations":       secret + strings.Replace(example, "4096", "4095", 1) + " user\n",
		"many iterations":      secret + strings.Replace(example, "4096", "9999999", 1) + " user\n",
		"a short key":          secret + strings.Replace(example, "WG5d", "", 1) + " user\n",
		"a key of another one": secret + strings.Replace(example, "SHA-256", "SHA-512", 1) + " user\n",
		"no salt":              secret + strings.Replace(example, "W22ZaJ0SNY7soEsUEjb6gQ==", "", 1) + " user\n",
		"two counts":           secret + "iterations 4096\niterations 4096\n",
		"no count":             secret + "iterations many\n",
		"a low count":          secret + "iterations 4095\n",
		"a long line":          secret + strings.Repeat("x", 1<<20),
	} {
		if _, err := Parse([]byte(content)); err == nil {
			t.Errorf("%s: taken", what)
		} else if strings.Contains(err.Error(), "pencil") || strings.Contains(err.Error(), "WG5d") || len(err.Error()) > 200 {
			t.Errorf("%s: shown: %.300v", what, err)
		}
	}
	if _, err := Parse([]byte("# a comment\r\n\r\n" + secret + example + " user\r\n")); err != nil {
		t.Errorf("with a DOS editor's lines: %v", err)
	}
}

// shown is what a client is told of a name, by mechanism, before it has proved anything.
func shown(t *testing.T, f *File, name string) (list [2]scram.KeyFactors) {
	t.Helper()
	for i, h := range Hashes {
		v, _ := f.Lookup(name, h.Name)
		if len(v.Salt) != saltSize || len(v.StoredKey) != h.size || len(v.ServerKey) != h.size {
			t.Errorf("%s, %s: %v, keys of %d and %d bytes", name, h.Name, v.KeyFactors, len(v.StoredKey), len(v.ServerKey))
		}
		list[i] = v.KeyFactors
	}
	return list
}

// What is shown of a name is the same before it is added, while it is there, with another password, after it was removed,
// and after a restart; whatever happens to other names. Only the salt differs from name to name, from hash to hash and
// from server to server.
func TestWhatIsShownOfAName(t *testing.T) {
	f := few(t)
	names := []string{"alice", "bob", "nobody"}
	var before [][2]scram.KeyFactors
	for _, name := range names {
		before = append(before, shown(t, f, name))
	}
	same := func(when string) {
		t.Helper()
		again, err := Parse(f.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			if now := shown(t, f, name); now != before[i] {
				t.Errorf("%s: %s has %v, not %v", when, name, now, before[i])
			}
			if now := shown(t, again, name); now != before[i] {
				t.Errorf("%s, after a restart: %s has %v, not %v", when, name, now, before[i])
			}
		}
	}
	same("at the beginning")
	f.Set("alice", "pencil")
	same("alice is there")
	f.Set("bob", "pencil")
	same("bob is there")
	f.Set("alice", "crayon")
	same("alice has another password")
	f.Remove("alice")
	same("alice is gone")
	f.Remove("bob")
	same("nobody is there")

	salts := map[string]bool{}
	for i := range 100 {
		for _, v := range shown(t, f, fmt.Sprint("nobody", i)) {
			salts[v.Salt] = true
			if v.Iters != MinIterations {
				t.Errorf("%d iterations", v.Iters)
			}
		}
	}
	if len(salts) != 200 {
		t.Errorf("%d salts", len(salts))
	}
	if shown(t, few(t), "nobody") == shown(t, f, "nobody") {
		t.Error("the fakes of two servers are the same")
	}
}

// A file without a count has the one that most of its users have, and keeps it; who has another one is known.
func TestFilesWithoutACount(t *testing.T) {
	const salt = "W22ZaJ0SNY7soEsUEjb6gQ=="
	line := func(iterations, itsSalt, user string) string {
		return strings.NewReplacer("4096", iterations, salt, itsSalt).Replace(example) + " " + user + "\n"
	}
	for _, c := range []struct {
		content   string
		count     int
		differing string
	}{
		{"", DefaultIterations, "[]"},
		{line("5000", salt, "a"), 5000, "[]"},
		{line("5000", salt, "a") + line("4096", salt, "b") + line("4096", salt, "c"), 4096, "[a]"},
		{line("5000", salt, "a") + line("4096", salt, "b"), 5000, "[b]"},
		{line("5000", salt, "b") + line("5000", "AAAA", "a"), 5000, "[a]"},
		{line("5000", salt, "a") + "iterations 4096\n", 4096, "[a]"},
	} {
		f, err := Parse([]byte(secret + c.content))
		if err != nil {
			t.Fatal(err)
		}
		if f.Iterations() != c.count || fmt.Sprint(f.Differing()) != c.differing {
			t.Errorf("%q: %d iterations, and others have %v", c.content, f.Iterations(), f.Differing())
		}
		nobody := shown(t, f, "nobody")
		f.Remove("a") // were it counted again, it would be another count
		if again, err := Parse(f.Bytes()); err != nil || again.Iterations() != c.count || shown(t, again, "nobody") != nobody {
			t.Errorf("%q, written: %v, %d iterations", c.content, err, again.Iterations())
		}
		f.SetIterations(MinIterations)
		for _, user := range append(f.Users(), "d") {
			f.Set(user, "pencil")
		}
		if len(f.Differing()) != 0 {
			t.Errorf("%q: with new passwords %v still differ", c.content, f.Differing())
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(secret + example + " user\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := Parse(content)
		if err != nil {
			return
		}
		again, err := Parse(file.Bytes())
		if err != nil || fmt.Sprint(again.Users()) != fmt.Sprint(file.Users()) {
			t.Errorf("%v: %q", err, file.Bytes())
		}
	})
}
