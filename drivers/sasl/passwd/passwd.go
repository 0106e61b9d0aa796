// Package passwd keeps the file that a server of sasl:// knows its users by. It holds what SCRAM needs to verify a
// password (RFC 5802, section 3), and never a password. vtx-passwd writes it, and the driver reads it.
//
// One line each, in any order; lines that begin with # are comments:
//
//	secret BASE64                                             what salts and fake users are made of, see File.Lookup
//	iterations COUNT                                          of all users; a file that was made before there was this
//	                                                          line has none
//	SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER USER          as in RFC 5803; the user is the rest of the line
package passwd

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
	"github.com/xdg-go/stringprep"
)

// Hash is one of the two SCRAMs.
type Hash struct {
	Name string // of the SASL mechanism
	New  scram.HashGeneratorFcn
	size int // bytes
}

// Hashes are those that a user gets a verifier of, strongest first.
var Hashes = []Hash{{"SCRAM-SHA-512", scram.SHA512, 64}, {"SCRAM-SHA-256", scram.SHA256, 32}}

// Limits of what a file may say; an iteration is two hashes, which the client computes and not the server.
const (
	MinIterations     = 4096 // RFC 7677, section 4
	MaxIterations     = 2_000_000
	DefaultIterations = 100_000
	saltSize          = 16 // bytes
	secretSize        = 32
)

// File is the content of a file of verifiers. It may be read from several goroutines.
type File struct {
	secret     []byte
	iterations int        // those of all users
	users      []*account // sorted by name
}

// account is a user's verifiers, in the order of Hashes. Where there is none it is zero.
type account struct {
	name      string
	verifiers [2]scram.StoredCredentials
}

// New makes a file of nobody, with a secret of its own and the default iterations.
func New() *File {
	f := &File{iterations: DefaultIterations, secret: make([]byte, secretSize)}
	rand.Read(f.secret) // never fails
	return f
}

// Parse reads a file's content. Its errors name the line and show nothing of it.
func Parse(content []byte) (*File, error) {
	f := new(File)
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), "\r")
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		if err := f.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if f.secret == nil {
		return nil, errors.New("it has no line \"secret\": it was not made by vtx-passwd")
	}
	if f.iterations == 0 {
		f.iterations = f.commonest()
	}
	return f, nil
}

var errLine = errors.New("it is neither a user's verifier nor the secret")

func (f *File) line(line string) error {
	kind, rest, found := strings.Cut(line, " ")
	if !found {
		return errLine
	}
	switch kind {
	case "iterations":
		n, err := strconv.Atoi(strings.TrimSpace(rest))
		if err != nil || f.iterations != 0 {
			return errors.New("the iterations are one number")
		}
		f.iterations = n
		return checkIterations(n)
	case "secret":
		secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
		if err != nil || len(secret) < 16 || f.secret != nil {
			return errors.New("the secret is one, in base64, of 16 bytes or more")
		}
		f.secret = secret
		return nil
	}
	user, err := PrepareName(rest)
	if err != nil || user != rest {
		return errors.New("the user's name is not prepared (RFC 4013)")
	}
	hash, verifier, err := parseVerifier(kind)
	if err != nil {
		return err
	}
	f.set(user, hash, verifier)
	return nil
}

// parseVerifier reads MECHANISM$ITERATIONS:SALT$STORED:SERVER.
func parseVerifier(text string) (hash int, v scram.StoredCredentials, err error) {
	part := strings.Split(text, "$")
	hash = indexOf(part[0])
	if len(part) != 3 || hash < 0 {
		return 0, v, errLine
	}
	iterations, salt, ok1 := strings.Cut(part[1], ":")
	stored, server, ok2 := strings.Cut(part[2], ":")
	count, err := strconv.Atoi(iterations)
	if !ok1 || !ok2 || err != nil {
		return 0, v, errLine
	}
	if err := checkIterations(count); err != nil {
		return 0, v, err
	}
	var list [3][]byte
	for i, text := range []string{salt, stored, server} {
		if list[i], err = base64.StdEncoding.DecodeString(text); err != nil {
			return 0, v, errLine
		}
	}
	if size := Hashes[hash].size; len(list[0]) == 0 || len(list[1]) != size || len(list[2]) != size {
		return 0, v, errLine
	}
	v = scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(list[0]), Iters: count}, StoredKey: list[1], ServerKey: list[2],
	}
	return hash, v, nil
}

// indexOf finds a mechanism among Hashes; -1: it is none of them.
func indexOf(mechanism string) int {
	return slices.IndexFunc(Hashes, func(h Hash) bool { return h.Name == mechanism })
}

// find finds where a prepared name stands, or would stand.
func (f *File) find(user string) (at int, there bool) {
	return slices.BinarySearchFunc(f.users, user, func(a *account, name string) int { return cmp.Compare(a.name, name) })
}

func (f *File) set(user string, hash int, v scram.StoredCredentials) {
	at, there := f.find(user)
	if !there {
		f.users = slices.Insert(f.users, at, &account{name: user})
	}
	f.users[at].verifiers[hash] = v
}

func checkIterations(n int) error {
	if n < MinIterations || n > MaxIterations {
		return fmt.Errorf("%d iterations: they are %d to %d", n, MinIterations, MaxIterations)
	}
	return nil
}

// commonest is what most users' verifiers have; of several such, the most iterations.
func (f *File) commonest() int {
	count := make(map[int]int)
	for _, a := range f.users {
		for _, v := range a.verifiers {
			count[v.Iters]++
		}
	}
	delete(count, 0) // of verifiers that are not there
	n := DefaultIterations
	for iterations := range count {
		if cmp.Or(count[iterations]-count[n], iterations-n) > 0 {
			n = iterations
		}
	}
	return n
}

// Iterations are those that every user has, but for those who are in Differing.
func (f *File) Iterations() int { return f.iterations }

// SetIterations changes what each user has from the next password on.
func (f *File) SetIterations(n int) error {
	if err := checkIterations(n); err != nil {
		return err
	}
	f.iterations = n
	return nil
}

// Differing are the users, sorted, whose iterations are not the file's, or whose salts have another length than fakes: who
// asks for a name can see that these exist.
func (f *File) Differing() (list []string) {
	for _, a := range f.users {
		if slices.ContainsFunc(a.verifiers[:], func(v scram.StoredCredentials) bool {
			return v.Iters != 0 && (v.Iters != f.iterations || len(v.Salt) != saltSize)
		}) {
			list = append(list, a.name)
		}
	}
	return list
}

// PrepareName prepares a user's name (RFC 4013), so that different spellings of it are one.
func PrepareName(name string) (string, error) {
	prepared, err := stringprep.SASLprep.Prepare(name)
	if err != nil || prepared == "" || len(prepared) > 255 {
		return "", errors.New("a user's name has 1 to 255 bytes, and only characters that SASLprep (RFC 4013) allows")
	}
	return prepared, nil
}

// Set gives a user a new password. Errors: a name or a password that cannot be one, which they do not show.
func (f *File) Set(user, password string) error {
	user, err := PrepareName(user)
	if err != nil {
		return err
	}
	if password == "" {
		return errors.New("the password is empty")
	}
	for i, h := range Hashes {
		client, err := h.New.NewClient(user, password, "")
		if err != nil {
			return errors.New("the password has characters that SASLprep (RFC 4013) does not allow")
		}
		v, err := client.GetStoredCredentialsWithError(f.factors(user, h.Name))
		if err != nil {
			return err
		}
		f.set(user, i, v)
	}
	return nil
}

// Remove forgets a user; false: there was none.
func (f *File) Remove(user string) bool {
	prepared, err := PrepareName(user)
	at, there := f.find(prepared)
	if err != nil || !there {
		return false
	}
	f.users = slices.Delete(f.users, at, at+1)
	return true
}

// Users are the names, sorted.
func (f *File) Users() (list []string) {
	for _, a := range f.users {
		list = append(list, a.name)
	}
	return list
}

// Lookup finds a user's verifier for a mechanism. Whom the file does not know gets a fake one, which looks like the others,
// and which no password fits: so a client cannot find out who exists. known is for the server's own eyes.
//
// It does the same for both, so that it takes as long: where a name is not there, its neighbour's verifier is read in
// place of its own, and what is returned has been copied.
func (f *File) Lookup(user, mechanism string) (v scram.StoredCredentials, known bool) {
	if prepared, err := PrepareName(user); err == nil {
		user = prepared
	}
	fake, hash := f.fake(user, mechanism), indexOf(mechanism)
	at, known := f.find(user)
	if hash < 0 || len(f.users) == 0 {
		return fake, false
	}
	real := f.users[min(at, len(f.users)-1)].verifiers[hash]
	known = known && real.Iters != 0
	v.Iters = fake.Iters
	if known {
		v.Iters = real.Iters
	}
	v.Salt = string(pick(known, []byte(real.Salt), []byte(fake.Salt)))
	v.StoredKey = pick(known, real.StoredKey, fake.StoredKey)
	v.ServerKey = pick(known, real.ServerKey, fake.ServerKey)
	return v, known
}

// pick copies one of two, and reads both where they have one length.
func pick(first bool, a, b []byte) []byte {
	if len(a) != len(b) {
		if first {
			return bytes.Clone(a)
		}
		return bytes.Clone(b)
	}
	picked := bytes.Clone(b)
	which := 0
	if first {
		which = 1
	}
	subtle.ConstantTimeCopy(which, picked, a)
	return picked
}

// factors are what a client sees of a verifier before it has proved anything. They are the same for a name before it is
// added, while it is there and after it was removed, and through each change of its password: who asks again and again
// sees none of these.
func (f *File) factors(user, mechanism string) scram.KeyFactors {
	// The name "salt 0" keeps the salts that fakes had in older versions.
	return scram.KeyFactors{Salt: string(f.derive("salt 0", user, mechanism)[:saltSize]), Iters: f.iterations}
}

// derive makes 32 bytes that nobody knows who does not know the secret.
func (f *File) derive(what, user, mechanism string) []byte {
	m := hmac.New(sha256.New, f.secret)
	fmt.Fprintf(m, "%s\x00%s\x00%s", what, mechanism, user)
	return m.Sum(nil)
}

func (f *File) fake(user, mechanism string) scram.StoredCredentials {
	key := append(f.derive("key", user, mechanism), f.derive("more key", user, mechanism)...)
	if mechanism == "SCRAM-SHA-256" {
		key = key[:sha256.Size]
	}
	return scram.StoredCredentials{KeyFactors: f.factors(user, mechanism), StoredKey: key, ServerKey: key}
}

// Bytes is the file's content.
func (f *File) Bytes() []byte {
	var b bytes.Buffer
	encode := base64.StdEncoding.EncodeToString
	fmt.Fprintf(&b, "# SCRAM verifiers of sasl://, made by vtx-passwd. Whoever has them can pretend to be the server.\n")
	fmt.Fprintf(&b, "secret %s\niterations %d\n", encode(f.secret), f.iterations)
	for _, a := range f.users {
		for i, v := range a.verifiers {
			if v.Iters != 0 {
				fmt.Fprintf(&b, "%s$%d:%s$%s:%s %s\n", Hashes[i].Name, v.Iters, encode([]byte(v.Salt)), encode(v.StoredKey), encode(v.ServerKey), a.name)
			}
		}
	}
	return b.Bytes()
}
