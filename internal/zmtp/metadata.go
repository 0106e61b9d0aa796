package zmtp

// Property is one property of a connection (RFC 23, metadata): a name of letters, digits, - _ . +, which is
// compared without regard to case, and a value.
type Property struct {
	Name  string
	Value []byte
}

// Metadata are the properties of one end.
type Metadata []Property
