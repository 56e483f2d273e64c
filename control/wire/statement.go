// Package wire is what control and proxies say to each other: signed statements on watched keys, requests over the
// bus or HTTPS, and reports. It sends nothing itself; package control and control/client do. It is not what
// administrators speak (control/admin).
package wire

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Kind says what a statement is about.
type Kind string

// The kinds of statements.
const (
	Slice  Kind = "slice"  // the body is a model.Snapshot with Self set
	Trust  Kind = "trust"  // the body is a TrustBody
	Places Kind = "places" // the body is a PlacesBody
)

// Order says which of two statements is the newer one. Term grows with each leader, Number with each statement of a
// leader. So a leader that was asleep cannot bring back what its successor has replaced.
type Order struct {
	Term   uint64 `json:"term"`
	Number uint64 `json:"number"`
}

// After tells whether o is newer than p.
func (o Order) After(p Order) bool {
	return o.Term > p.Term || o.Term == p.Term && o.Number > p.Number
}

// Statement is what control says to one proxy, or to all. What it says holds for good: it has no end, since proxies live on
// with the last one while control is away.
type Statement struct {
	Kind    Kind            `json:"kind"`
	Domain  string          `json:"domain"`         // trust domain
	For     string          `json:"for,omitempty"`  // SPIFFE ID; empty: for all of the trust domain
	Only    []string        `json:"only,omitempty"` // instances on which it is tried; empty: all
	Order   Order           `json:"order"`
	Version string          `json:"version,omitempty"` // of a slice
	Made    time.Time       `json:"made"`              // by control's clock
	Body    json.RawMessage `json:"body"`
}

const (
	magic   = "PLS1"                              // format of a signed statement
	purpose = "palisade control statement v1\x00" // keeps a signature made here from meaning anything elsewhere

	maxSignature = 512
	maxSigned    = 64 << 20  // bytes as it travels; the bus takes less
	maxPlain     = 256 << 20 // bytes of a statement as JSON
)

// ErrForged refuses a statement that no key of control has signed.
var ErrForged = errors.New("no key of control has signed it")

// Sealer signs statements with one key, ECDSA or Ed25519. It is safe for concurrent use.
type Sealer struct {
	key     crypto.Signer
	writers sync.Pool
}

// NewSealer signs with key.
func NewSealer(key crypto.Signer) *Sealer { return &Sealer{key: key} }

// Sign returns a statement as it travels: magic, length of the signature (2 bytes), signature, and the statement as
// compressed JSON. What is signed are the bytes that travel, so that nothing is parsed or inflated before its
// signature holds, and no canonical form is needed.
func (s *Sealer) Sign(st *Statement) ([]byte, error) {
	plain, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("encoding a statement: %w", err)
	}
	var payload bytes.Buffer
	w, ok := s.writers.Get().(*gzip.Writer)
	if ok {
		w.Reset(&payload)
	} else {
		w = gzip.NewWriter(&payload)
	}
	_, err = w.Write(plain)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("encoding a statement: %w", err)
	}
	s.writers.Put(w)
	signature, err := s.sign(payload.Bytes())
	if err != nil || len(signature) > maxSignature {
		return nil, fmt.Errorf("signing a statement: %w", errors.Join(err, tooLong(signature)))
	}
	out := make([]byte, 0, len(magic)+2+len(signature)+payload.Len())
	out = append(out, magic...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(signature)))
	out = append(out, signature...)
	return append(out, payload.Bytes()...), nil
}

func tooLong(signature []byte) error {
	if len(signature) > maxSignature {
		return errors.New("the signature is too long")
	}
	return nil
}

func (s *Sealer) sign(payload []byte) ([]byte, error) {
	message := append([]byte(purpose), payload...)
	if _, ok := s.key.Public().(ed25519.PublicKey); ok {
		return s.key.Sign(rand.Reader, message, crypto.Hash(0))
	}
	digest := sha256.Sum256(message)
	return s.key.Sign(rand.Reader, digest[:], crypto.SHA256)
}

// Open returns what one of the keys has signed. The error wraps ErrForged if none has.
func Open(data []byte, keys []crypto.PublicKey) (*Statement, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok || len(rest) < 2 || len(data) > maxSigned {
		return nil, errors.New("it is no statement of control")
	}
	size := int(binary.BigEndian.Uint16(rest))
	if rest = rest[2:]; size > maxSignature || size > len(rest) {
		return nil, errors.New("it is no statement of control")
	}
	signature, payload := rest[:size], rest[size:]
	if !signed(payload, signature, keys) {
		return nil, ErrForged
	}
	r, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("reading a statement: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxPlain+1))
	if err != nil {
		return nil, fmt.Errorf("reading a statement: %w", err)
	}
	if len(plain) > maxPlain {
		return nil, fmt.Errorf("reading a statement: it has more than %d bytes", maxPlain)
	}
	st := new(Statement)
	if err := json.Unmarshal(plain, st); err != nil {
		return nil, fmt.Errorf("reading a statement: %w", err)
	}
	return st, nil
}

func signed(payload, signature []byte, keys []crypto.PublicKey) bool {
	message := append([]byte(purpose), payload...)
	digest := sha256.Sum256(message)
	for _, key := range keys {
		switch key := key.(type) {
		case *ecdsa.PublicKey:
			if ecdsa.VerifyASN1(key, digest[:], signature) {
				return true
			}
		case ed25519.PublicKey:
			if ed25519.Verify(key, message, signature) {
				return true
			}
		}
	}
	return false
}
