// Package revocation holds the list of what is refused before it expires: SVIDs by service, by serial number, by
// node. The authority keeps it and issues nothing to what is on it; every proxy holds a copy, refuses
// handshakes by it and cuts connections. It is no CRL and no OCSP: SVIDs live for an hour, the list is pushed.
package revocation

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Kind says what an entry names.
type Kind string

// The kinds of entries.
const (
	Service Kind = "service" // a SPIFFE ID
	Serial  Kind = "serial"  // a certificate's serial number, lower-case hexadecimal without leading zeros
	Node    Kind = "node"    // a node: what it got itself and what was issued to services on it
)

const (
	maxList  = 64 << 20 // bytes of a list as JSON
	maxValue = 2048     // bytes; the longest SPIFFE ID (SPIFFE-ID, section 2.3)
	maxNode  = 255
)

// Entry is one refusal.
type Entry struct {
	Kind   Kind      `json:"kind"`
	Value  string    `json:"value"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	// Before is set when a service or node is restored: new SVIDs are issued again, and only those that
	// begin at or before this moment stay refused. A stolen key does not come back with its service.
	Before time.Time `json:"before,omitzero"`
}

// Subject is what a list is asked about: what an SVID says and when it begins.
type Subject struct {
	ID     spiffeid.ID
	Serial string // as in Entry.Value
	Node   string // "" if not known
	Begins time.Time
}

// List is an immutable set of entries of one trust domain. The zero value and nil refuse nothing.
type List struct {
	domain   spiffeid.TrustDomain
	sequence uint64
	entries  []Entry
	index    map[key]int
}

type key struct {
	kind  Kind
	value string
}

// New makes a list; sequence grows with every change. Each kind and value may stand once.
func New(domain spiffeid.TrustDomain, sequence uint64, entries []Entry) (*List, error) {
	l := &List{domain: domain, sequence: sequence, entries: slices.Clone(entries), index: make(map[key]int, len(entries))}
	for i, entry := range l.entries {
		value, err := Normal(domain, entry.Kind, entry.Value)
		if err != nil {
			return nil, fmt.Errorf("making a revocation list: %w", err)
		}
		l.entries[i].Value = value
		at := key{entry.Kind, value}
		if _, twice := l.index[at]; twice {
			return nil, fmt.Errorf("making a revocation list: %s %q stands twice", entry.Kind, value)
		}
		l.index[at] = i
	}
	return l, nil
}

// Normal returns the one form of a value, or why it names nothing in the trust domain. A service may be given
// by its SPIFFE ID or, for short, as "service/NAME"; a serial number with colons or leading zeros.
func Normal(domain spiffeid.TrustDomain, kind Kind, value string) (string, error) {
	if len(value) > maxValue {
		return "", errors.New("the value is too long")
	}
	switch kind {
	case Service:
		if !strings.Contains(value, "://") {
			value = domain.IDString() + "/" + value
		}
		id, err := spiffeid.FromString(value)
		if err != nil {
			return "", fmt.Errorf("%q is no SPIFFE ID: %w", value, err)
		}
		if !id.MemberOf(domain) || id.Path() == "" {
			return "", fmt.Errorf("%q is no identity of the trust domain %s", value, domain)
		}
		return id.String(), nil
	case Serial:
		number, ok := new(big.Int).SetString(strings.ReplaceAll(value, ":", ""), 16)
		if !ok || number.Sign() <= 0 {
			return "", fmt.Errorf("%q is no serial number in hexadecimal", value)
		}
		return number.Text(16), nil
	case Node:
		if value == "" || len(value) > maxNode || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "", fmt.Errorf("%q is no node name", value)
		}
		return value, nil
	default:
		return "", fmt.Errorf("%q is no kind of entry; known are %s, %s and %s", kind, Service, Serial, Node)
	}
}

// Sequence returns the number of the list; a higher one replaces a lower one.
func (l *List) Sequence() uint64 {
	if l == nil {
		return 0
	}
	return l.sequence
}

// Entries returns a copy of the entries, in the order of New.
func (l *List) Entries() []Entry {
	if l == nil {
		return nil
	}
	return slices.Clone(l.entries)
}

// Refuses returns the entry by which an existing SVID is refused.
func (l *List) Refuses(s Subject) (Entry, bool) {
	return l.find(s, func(e Entry) bool { return e.Before.IsZero() || !s.Begins.After(e.Before) })
}

// Bars returns the entry by which nothing new is issued.
func (l *List) Bars(id spiffeid.ID, node string) (Entry, bool) {
	return l.find(Subject{ID: id, Node: node}, func(e Entry) bool { return e.Before.IsZero() })
}

// find returns the first entry about a subject that holds.
func (l *List) find(s Subject, holds func(Entry) bool) (Entry, bool) {
	if l == nil || len(l.entries) == 0 {
		return Entry{}, false
	}
	keys := [4]key{{Serial, s.Serial}, {Service, s.ID.String()}}
	if s.ID.MemberOf(l.domain) { // another domain's nodes may bear the same names
		keys[2] = key{Node, s.Node}
		keys[3].kind = Node
		if name, ok := strings.CutPrefix(s.ID.Path(), "/node/"); ok {
			keys[3].value = name
		}
	}
	for _, k := range keys {
		if k.value == "" {
			continue
		}
		if i, ok := l.index[k]; ok && holds(l.entries[i]) {
			return l.entries[i], true
		}
	}
	return Entry{}, false
}

// document is the JSON form of a list.
type document struct {
	Domain   spiffeid.TrustDomain `json:"trust_domain"`
	Sequence uint64               `json:"sequence"`
	Entries  []Entry              `json:"entries"`
}

// Encode returns the list as JSON.
func (l *List) Encode() ([]byte, error) {
	return json.Marshal(document{Domain: l.domain, Sequence: l.sequence, Entries: l.entries})
}

// Parse reads what Encode returned.
func Parse(data []byte) (*List, error) {
	if len(data) > maxList {
		return nil, fmt.Errorf("reading a revocation list: more than %d bytes", maxList)
	}
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading a revocation list: %w", err)
	}
	if doc.Domain.IsZero() {
		return nil, errors.New("reading a revocation list: it names no trust domain")
	}
	return New(doc.Domain, doc.Sequence, doc.Entries)
}
