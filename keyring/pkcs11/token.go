//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/ThalesGroup/crypto11"
)

const (
	idLength    = 16 // bytes of CKA_ID, which ties the halves of a key pair
	sessionWait = 10 * time.Second
	maxPIN      = 1 << 10
)

// token is a logged-in PKCS#11 token.
type token struct {
	mu      sync.Mutex // makes "find, else make" one step within this process
	context *crypto11.Context
}

// Open logs in to the token that a URI names; see ParseURI.
func Open(uri string) (Keys, error) {
	u, err := ParseURI(uri)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(u.PINSource)
	if err != nil {
		return nil, fmt.Errorf("opening a PKCS#11 token: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxPIN || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("opening a PKCS#11 token: the PIN file %s must be a small file of mode 0600", u.PINSource)
	}
	pin, err := os.ReadFile(u.PINSource)
	if err != nil {
		return nil, fmt.Errorf("opening a PKCS#11 token: %w", err)
	}
	config := &crypto11.Config{Path: u.ModulePath, TokenLabel: u.Token, Pin: string(bytes.TrimSpace(pin)), PoolWaitTimeout: sessionWait}
	if u.Serial != "" { // the library takes one of the two
		config.TokenLabel, config.TokenSerial = "", u.Serial
	}
	opened, err := crypto11.Configure(config)
	if err != nil {
		return nil, fmt.Errorf("opening a PKCS#11 token: %w", err)
	}
	return &token{context: opened}, nil
}

func (t *token) Signer(ctx context.Context, name string) (crypto.Signer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, err := t.find(name)
	if err != nil || found != nil {
		return found, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	id := make([]byte, idLength)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("making the PKCS#11 key %q: %w", name, err)
	}
	made, err := t.context.GenerateECDSAKeyPairWithLabel(id, []byte(name), elliptic.P256())
	if err != nil {
		return nil, fmt.Errorf("making the PKCS#11 key %q: %w", name, err)
	}
	return made, nil
}

func (t *token) Lookup(_ context.Context, name string) (crypto.Signer, error) {
	found, err := t.find(name)
	if err == nil && found == nil {
		err = fmt.Errorf("finding the PKCS#11 key %q: %w", name, fs.ErrNotExist)
	}
	return found, err
}

func (t *token) Remove(_ context.Context, name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	pairs, err := t.context.FindKeyPairs(nil, []byte(name))
	if err != nil {
		return fmt.Errorf("removing the PKCS#11 key %q: %w", name, err)
	}
	for _, pair := range pairs {
		if err := pair.Delete(); err != nil {
			return fmt.Errorf("removing the PKCS#11 key %q: %w", name, err)
		}
	}
	return nil
}

func (t *token) Close() error { return t.context.Close() }

// find returns the one key of a name, or nil.
func (t *token) find(name string) (crypto.Signer, error) {
	pairs, err := t.context.FindKeyPairs(nil, []byte(name))
	switch {
	case err != nil:
		return nil, fmt.Errorf("finding the PKCS#11 key %q: %w", name, err)
	case len(pairs) > 1:
		return nil, fmt.Errorf("finding the PKCS#11 key %q: the token has %d of that name; remove all but one", name, len(pairs))
	case len(pairs) == 0:
		return nil, nil
	}
	return pairs[0], nil
}
