package event

import "encoding/json"

// AppendHeaders appends headers as they stand in AppendJSON's output.
func AppendHeaders(dst []byte, all []Header) []byte {
	o := &object{dst: dst}
	o.headers("", all)
	return o.dst[:len(o.dst)-1]
}

// AppendMembers appends texts by name as one object.
func AppendMembers(dst []byte, m map[string]string) []byte {
	o := &object{dst: dst}
	o.open()
	o.members(m)
	o.close()
	return o.dst[:len(o.dst)-1]
}

// AppendList appends a JSON list of texts.
func AppendList(dst []byte, list []string) []byte {
	o := &object{dst: dst}
	o.list("")
	for _, s := range list {
		o.must(`"`, s)
	}
	o.endList()
	return o.dst[:len(o.dst)-1]
}

// ParseList reads what AppendList writes.
func ParseList(text string) ([]string, error) {
	p := &scan{s: text}
	p.open("[")
	if out := p.list(); p.done() {
		return out, nil
	}
	var out []string
	err := json.Unmarshal([]byte(text), &out)
	return out, err
}

// ParseTrail reads what AppendTrail writes.
func ParseTrail(text string) ([]Stage, error) {
	p := &scan{s: text}
	p.open("[")
	if out := p.trail(); p.done() {
		return out, nil
	}
	var out []Stage
	err := json.Unmarshal([]byte(text), &out)
	return out, err
}

// ParseAttributes reads what AppendAttributes writes.
func ParseAttributes(text string) (*Attributes, error) {
	a, p := &Attributes{}, &scan{s: text}
	p.open("{")
	if a.scan(p); p.done() {
		return a, nil
	}
	a = &Attributes{}
	return a, json.Unmarshal([]byte(text), a)
}
