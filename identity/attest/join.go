package attest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ErrJoinToken refuses a join token: unknown, used, expired or malformed. The text says which one, for the record alone:
// who presents it must not be told.
var ErrJoinToken = errors.New("the join token is not valid")

// joinPrefix makes a leaked token easy to find and to name.
const joinPrefix = "palisade-join-"

// JoinRecord is what is kept of a token.
type JoinRecord struct {
	Hash    [sha256.Size]byte // of the token's 32 bytes
	Name    string            // what whoever presents it becomes
	Expires time.Time
}

// JoinStore keeps records. Put and Take are durable when they return. Take removes and returns a record in one
// step: of any number of concurrent calls for one hash, in any number of processes, one gets it and all others
// get ErrJoinToken. Put may forget what has expired.
type JoinStore interface {
	Put(ctx context.Context, record JoinRecord) error
	Take(ctx context.Context, hash [sha256.Size]byte) (JoinRecord, error)
}

// NewJoinToken makes a token of 256 random bits that can be used once, within ttl, to become name. It is shown
// once; the store has its hash only.
func NewJoinToken(ctx context.Context, store JoinStore, name string, ttl time.Duration) (string, error) {
	if name == "" || ttl <= 0 {
		return "", errors.New("making a join token: it needs a name and a time to live")
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails (crypto/rand)
	record := JoinRecord{Hash: sha256.Sum256(secret[:]), Name: name, Expires: time.Now().Add(ttl)}
	if err := store.Put(ctx, record); err != nil {
		return "", fmt.Errorf("making a join token for %q: %w", name, err)
	}
	return joinPrefix + base64.RawURLEncoding.EncodeToString(secret[:]), nil
}

// RedeemJoinToken uses a token up and returns what it proves: a name. The token is gone afterwards, also when
// it had expired. The secret itself is never compared, only its hash, which an attacker cannot steer: how long
// the store looks tells nothing.
func RedeemJoinToken(ctx context.Context, store JoinStore, token string) ([]Selector, error) {
	secret, err := parseJoinToken(token)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(secret[:])
	record, err := store.Take(ctx, hash)
	if err != nil {
		return nil, fmt.Errorf("redeeming a join token: %w", err)
	}
	if subtle.ConstantTimeCompare(hash[:], record.Hash[:]) != 1 || record.Name == "" {
		return nil, ErrJoinToken
	}
	if !time.Now().Before(record.Expires) {
		return nil, fmt.Errorf("%w: it has expired", ErrJoinToken)
	}
	return []Selector{{Kind: JoinName, Value: record.Name}}, nil
}

// IsJoinToken tells whether a text has the form of a token; whether it is one, its store knows.
func IsJoinToken(text string) bool {
	_, err := parseJoinToken(text)
	return err == nil
}

// parseJoinToken accepts the one form that NewJoinToken writes.
func parseJoinToken(token string) (secret [32]byte, err error) {
	text, ok := strings.CutPrefix(token, joinPrefix)
	if !ok || len(text) != base64.RawURLEncoding.EncodedLen(len(secret)) {
		return secret, fmt.Errorf("%w: it is malformed", ErrJoinToken)
	}
	// The decoder skips line breaks, which would make a shorter secret of the same length.
	n, err := base64.RawURLEncoding.Strict().Decode(secret[:], []byte(text))
	if err != nil || n != len(secret) {
		return [32]byte{}, fmt.Errorf("%w: it is malformed", ErrJoinToken)
	}
	return secret, nil
}

// MemoryJoins is a JoinStore for one process; tokens end with it.
type MemoryJoins struct {
	mu      sync.Mutex
	records map[[sha256.Size]byte]JoinRecord
}

// NewMemoryJoins returns an empty store.
func NewMemoryJoins() *MemoryJoins {
	return &MemoryJoins{records: map[[sha256.Size]byte]JoinRecord{}}
}

// Put keeps a record.
func (m *MemoryJoins) Put(_ context.Context, record JoinRecord) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for hash, old := range m.records {
		if !time.Now().Before(old.Expires) {
			delete(m.records, hash)
		}
	}
	m.records[record.Hash] = record
	return nil
}

// Take removes and returns a record.
func (m *MemoryJoins) Take(_ context.Context, hash [sha256.Size]byte) (JoinRecord, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	record, ok := m.records[hash]
	if !ok {
		return JoinRecord{}, ErrJoinToken
	}
	delete(m.records, hash)
	return record, nil
}
