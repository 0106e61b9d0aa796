package sasl_test

import (
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/vtx"
)

// printable wants that all that the monitor has said can be shown.
func (e *end) printable() {
	e.h.t.Helper()
	for _, sentence := range e.said {
		app.Printable(e.h.t, sentence)
	}
}

func saslGreeting() string {
	return "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01SASL" + strings.Repeat("\x00", 48)
}

func saslCommand(body string) string { return "\x04" + string([]byte{byte(len(body))}) + body }

// Whatever clients say of themselves, events show it quoted, or not at all.
func TestNastyClients(t *testing.T) {
	const nasty = app.Nasty
	near := newHost(t)
	near.zapHandler(map[string]string{"PLAIN " + nasty + " pw": "", "OAUTHBEARER " + nasty + " to.ken": ""})
	initiate := saslCommand("\x08INITIATE\x0bSocket-Type\x00\x00\x00\x06DEALER")
	auth := func(mechanism, response string) string {
		return saslCommand("\x04AUTH" + string([]byte{byte(len(mechanism))}) + mechanism + "\x01" + response)
	}
	open := options{"sasl.cleartext": "yes"}
	known := options{"sasl.verifiers": verifiers(t, "alice", "pencil")}
	for what, c := range map[string]struct {
		set       options
		say, says string
	}{
		"mechanism":         {open, auth(nasty, ""), `the client wants "` + app.NastyShown + `"`},
		"command":           {open, saslCommand("\x0c" + nasty), app.NastyShown},
		"PLAIN, user":       {open, auth("PLAIN", "\x00"+nasty+"\x00pw") + initiate, `user "` + app.NastyShown + `"`},
		"PLAIN, wrong":      {open, auth("PLAIN", "\x00"+nasty+"\x00no"), `a client without a name: "so be it"`},
		"PLAIN, for":        {open, auth("PLAIN", nasty+"\x00bob\x00pw"), `user "bob": may not act for another user`},
		"PLAIN, by":         {open, auth("PLAIN", "bob\x00"+nasty+"\x00pw"), `user "` + app.NastyShown + `": may not act for another user`},
		"OAUTHBEARER, user": {open, auth("OAUTHBEARER", "n,a="+nasty+",\x01auth=Bearer to.ken\x01\x01") + initiate, `user "` + app.NastyShown + `"`},
		"OAUTHBEARER":       {open, auth("OAUTHBEARER", nasty) + saslCommand("\x08RESPONSE"+nasty), "the client's message in OAUTHBEARER is malformed"},
		"SCRAM":             {known, auth("SCRAM-SHA-256", nasty), "the client's message in SCRAM-SHA-256 is malformed"},
		"SCRAM, for":        {known, auth("SCRAM-SHA-256", "n,a="+nasty+",n=alice,r=abc"), `user "alice": may not act for another user`},
		"SCRAM, user":       {known, auth("SCRAM-SHA-256", "n,,n="+nasty+",r=abc") + saslCommand("\x08RESPONSE"+nasty), "the client's message in SCRAM-SHA-256 is malformed"},
	} {
		t.Run(what, func(t *testing.T) {
			router := near.end(vtx.Router, c.set)
			endpoint := router.bind("sasl")
			conn, err := net.Dial("tcp4", endpoint[len("sasl://"):])
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte(saslGreeting() + c.say)); err != nil {
				t.Fatal(err)
			}
			router.event(c.says)
			router.printable()
		})
	}
}

// The server's words too; and who a certificate says its holder is.
func TestNastyServers(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(app.Patience))
			conn.Write([]byte(saslGreeting()[:32] + "\x01" + saslGreeting()[33:] + saslCommand("\x0aMECHANISMS\x0c"+app.Nasty)))
			conn.Read(make([]byte, 1<<10))
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-served })
	far := newHost(t)
	dealer := far.end(vtx.Dealer, options{"sasl.username": "alice", "sasl.password": "pencil"})
	dealer.connect("sasl://" + ln.Addr().String())
	dealer.event(`the server offers "` + app.NastyShown + `", and we could log in by`)
	dealer.printable()

	ca := testca.New(t, "authority")
	eve := ca.Issue(func(c *x509.Certificate) { c.Subject.CommonName = strings.ToValidUTF8(app.Nasty, "") }, "eve")
	near := newHost(t)
	router := near.end(vtx.Router, serverTLS(ca.Issue(nil, "127.0.0.1")).with("tls.ca", ca.Cert))
	holder := far.end(vtx.Dealer, serverTLS(eve).with("tls.ca", ca.Cert))
	holder.connect(router.bind("sasl+tls"))
	router.event(`user "CN=\\1B[2J\\0Aok`)
	router.printable()
}
