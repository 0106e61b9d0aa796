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

func TestSetRemoveAndReadAgain(t *testing.T) {
	f := New()
	names := []string{"alice", "bob b", "c:d$e", "Zoë", "#x", "secret"}
	for _, name := range names {
		if err := f.Set(name, "pencil", MinIterations); err != nil {
			t.Fatal(err)
		}
	}
	f.Set("\u2163", "pencil", MinIterations) // a Roman four, which SASLprep makes two letters of
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
		if err := f.Set(bad[0], bad[1], MinIterations); err == nil || strings.Contains(err.Error(), bad[1]+"\x07") {
			t.Errorf("%.20q, %q: %v", bad[0], bad[1], err)
		}
	}
	for _, n := range []int{0, MinIterations - 1, MaxIterations + 1} {
		if f.Set("a", "p", n) == nil {
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

// A fake is the same each time and after a restart, differs from name to name, and has the shape of some user's.
func TestFakes(t *testing.T) {
	f := New()
	for i, name := range []string{"a", "b", "c"} {
		if err := f.Set(name, "pencil", MinIterations+i); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Parse(f.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	salts, counts := map[string]bool{}, map[int]bool{}
	for _, h := range Hashes {
		for i := range 100 {
			name := fmt.Sprint("nobody", i)
			v, known := f.Lookup(name, h.Name)
			w, _ := again.Lookup(name, h.Name)
			if known || v.KeyFactors != w.KeyFactors || len(v.Salt) != saltSize || len(v.StoredKey) != h.size {
				t.Fatalf("%s: known %v, %v, after a restart %v", name, known, v.KeyFactors, w.KeyFactors)
			}
			salts[v.Salt], counts[v.Iters] = true, true
		}
	}
	if len(salts) != 200 || len(counts) != 3 {
		t.Errorf("%d salts, and iterations %v", len(salts), counts)
	}
	other := New()
	other.Set("a", "pencil", MinIterations)
	v, _ := f.Lookup("nobody", "SCRAM-SHA-256")
	if w, _ := other.Lookup("nobody", "SCRAM-SHA-256"); v.Salt == w.Salt {
		t.Error("the fakes of two servers are the same")
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
