package vtx

// index finds a socket's peerings by a name, which several may share.
type index map[string]map[*peering]struct{}

func (x index) add(name string, p *peering) {
	if x[name] == nil {
		x[name] = make(map[*peering]struct{}, 1)
	}
	x[name][p] = struct{}{}
}

func (x index) remove(name string, p *peering) {
	if delete(x[name], p); len(x[name]) == 0 {
		delete(x, name)
	}
}
