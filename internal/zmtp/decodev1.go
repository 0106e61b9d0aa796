package zmtp

func (s *Session) decodeV1(in []byte) (Decoded, error) { panic("not yet") }
