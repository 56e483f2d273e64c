package intake

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Source is somebody whose records are taken.
type Source struct {
	Name         string
	Service      string   // that writes the records; empty: whatever service they name
	Keys         []string // SHA-256 of API keys, hex
	Certificates []string // SPIFFE IDs or DNS names of client certificates
	Records      float64  // quota per second
	Bytes        float64  // quota per second
}

// source is a Source at work.
type source struct {
	Source
	keys  [][sha256.Size]byte
	quota *quota
}

// sources are all of them. They do not change.
type sources struct {
	all           []*source
	byName        map[string]*source
	byCertificate map[string]*source
}

// sender is where records came from.
type sender struct {
	address  string
	port     int
	workload string // SPIFFE ID of a certificate that was verified
}

func (s *sources) replaced(list []Source, now time.Time) *sources {
	out := &sources{byName: map[string]*source{}, byCertificate: map[string]*source{}}
	for _, declared := range list {
		one := &source{Source: declared}
		if old := s.byName[declared.Name]; old != nil {
			one.quota = old.quota
		} else {
			one.quota = &quota{}
		}
		one.quota.declare(now, declared.Records, declared.Bytes)
		for _, k := range declared.Keys {
			if sum, err := hex.DecodeString(k); err == nil && len(sum) == sha256.Size {
				one.keys = append(one.keys, [sha256.Size]byte(sum))
			}
		}
		out.all = append(out.all, one)
		out.byName[one.Name] = one
		for _, c := range declared.Certificates {
			out.byCertificate[c] = one
		}
	}
	return out
}

// keyed finds whose API key this is. How long it takes does not depend on how much of a key is right.
func (s *sources) keyed(key string) *source {
	sum := sha256.Sum256([]byte(key))
	var found *source
	for _, one := range s.all {
		for i := range one.keys {
			if subtle.ConstantTimeCompare(sum[:], one.keys[i][:]) == 1 {
				found = one
			}
		}
	}
	return found
}

// certified finds whose certificate this is, which was verified, and its SPIFFE ID if it has one; nil is nobody's.
func (s *sources) certified(c *x509.Certificate) (found *source, workload string) {
	if c == nil {
		return nil, ""
	}
	names := slices.Clone(c.DNSNames)
	for _, u := range c.URIs {
		if name := u.String(); strings.HasPrefix(name, "spiffe://") {
			names, workload = append(names, name), name
		}
	}
	for _, name := range names {
		if one := s.byCertificate[name]; one != nil {
			found = one
		}
	}
	return found, workload
}
