package zmtp

const curveOverhead = 33

func (s *Session) decodeSealed(in []byte) (Decoded, error) { panic("not yet") }
