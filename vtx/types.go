package vtx

import (
	"fmt"
	"slices"
)

// SocketType is a libzmq socket type, with libzmq's numbers.
type SocketType int

// The socket types that VTX carries.
const (
	TypeUnknown SocketType = -1
	Pair        SocketType = 0
	Pub         SocketType = 1
	Sub         SocketType = 2
	Req         SocketType = 3
	Rep         SocketType = 4
	Dealer      SocketType = 5
	Router      SocketType = 6
	Pull        SocketType = 7
	Push        SocketType = 8
	XPub        SocketType = 9
	XSub        SocketType = 10
)

var typeNames = [...]string{"PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB"}

// String is the type's name on a ZMTP wire (RFC 23, Socket-Type).
func (t SocketType) String() string {
	if t >= 0 && int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", int(t))
}

// typeNamed is the type with a name as String gives it, or TypeUnknown.
func typeNamed(name string) SocketType {
	return SocketType(slices.Index(typeNames[:], name))
}

// talksTo holds the legal pairs of RFC 23 (socket type property), as libzmq accepts them.
var talksTo = map[SocketType][]SocketType{
	Pair:   {Pair},
	Pub:    {Sub, XSub},
	XPub:   {Sub, XSub},
	Sub:    {Pub, XPub},
	XSub:   {Pub, XPub},
	Req:    {Rep, Router},
	Rep:    {Req, Dealer},
	Dealer: {Rep, Dealer, Router},
	Router: {Req, Dealer, Router},
	Pull:   {Push},
	Push:   {Pull},
}

// TalksTo says whether a socket of type t may have a peer of type peer. An unknown peer type is
// accepted: a transport that cannot tell it cannot check it.
func (t SocketType) TalksTo(peer SocketType) bool {
	if peer == TypeUnknown {
		return true
	}
	for _, p := range talksTo[t] {
		if p == peer {
			return true
		}
	}
	return false
}

// waitsToSend says whether what a socket of type t sends may have to wait: for a peer, or for room.
func (t SocketType) waitsToSend() bool { return t == Pair || t == Req || t == Dealer || t == Push }

// publishes says whether a socket of type t is the one that is subscribed to.
func (t SocketType) publishes() bool { return t == Pub || t == XPub }

// subscribes says whether a socket of type t is the one that subscribes.
func (t SocketType) subscribes() bool { return t == Sub || t == XSub }
