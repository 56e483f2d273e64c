package control

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/store/table"
)

// vault keeps secrets in the store, sealed by the ring, so that all controls have them. It is authority.Keys.
type vault struct {
	store *table.Store
	ring  *keyring.Ring
}

// get returns what was sealed under a name, and its revision. The error wraps fs.ErrNotExist if there is nothing.
func (v vault) get(ctx context.Context, name string) (plain []byte, revision int64, err error) {
	var sealed []byte
	err = v.store.Read(ctx, func(t *table.Tx) (err error) {
		sealed, revision, err = t.Blob(ctx, name)
		return err
	})
	switch {
	case errors.Is(err, table.ErrNotFound), err == nil && len(sealed) == 0: // removed
		return nil, revision, fmt.Errorf("reading %q: %w", name, fs.ErrNotExist)
	case err != nil:
		return nil, 0, err
	}
	plain, err = v.ring.Open(name, sealed)
	return plain, revision, err
}

// keep returns what is sealed under a name, and makes it if there is nothing. All who ask get the same.
func (v vault) keep(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error) {
	for {
		plain, revision, err := v.get(ctx, name)
		if !errors.Is(err, fs.ErrNotExist) {
			return plain, err
		}
		if plain, err = fresh(); err != nil {
			return nil, err
		}
		sealed, err := v.ring.Seal(name, plain)
		if err != nil {
			return nil, err
		}
		err = v.store.Write(ctx, func(t *table.Tx) error { return t.SaveBlob(ctx, name, sealed, revision) })
		if !errors.Is(err, table.ErrConflict) && !errors.Is(err, table.ErrUncertain) {
			return plain, err
		}
	}
}

const keyPrefix = "key/"

// Signer is authority.Keys'.
func (v vault) Signer(ctx context.Context, name string) (crypto.Signer, error) {
	der, err := v.keep(ctx, keyPrefix+name, func() ([]byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKCS8PrivateKey(key)
	})
	if err != nil {
		return nil, fmt.Errorf("making the key %q: %w", name, err)
	}
	return parseKey(name, der)
}

// Lookup is authority.Keys'.
func (v vault) Lookup(ctx context.Context, name string) (crypto.Signer, error) {
	der, _, err := v.get(ctx, keyPrefix+name)
	if err != nil {
		return nil, fmt.Errorf("reading the key %q: %w", name, err)
	}
	return parseKey(name, der)
}

func parseKey(name string, der []byte) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err == nil {
		if signer, ok := parsed.(crypto.Signer); ok {
			return signer, nil
		}
	}
	return nil, fmt.Errorf("reading the key %q: it is no key that signs", name)
}

// Remove is authority.Keys'. What is left is an empty value: the key is gone, its revision is not.
func (v vault) Remove(ctx context.Context, name string) error {
	return v.store.Write(ctx, func(t *table.Tx) error {
		_, revision, err := t.Blob(ctx, keyPrefix+name)
		if errors.Is(err, table.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return t.SaveBlob(ctx, keyPrefix+name, nil, revision)
	})
}

// busKeys returns the keys by which the bus obeys control.
func (v vault) busKeys(ctx context.Context) (*bus.Keys, error) {
	data, err := v.keep(ctx, "bus-keys", func() ([]byte, error) {
		keys, err := bus.NewKeys()
		if err != nil {
			return nil, err
		}
		return keys.Marshal()
	})
	if err != nil {
		return nil, fmt.Errorf("reading the keys of the bus: %w", err)
	}
	return bus.ParseKeys(data)
}

// authorityStore keeps the authority's state in the store.
type authorityStore struct{ store *table.Store }

const authorityBlob = "authority"

// Load is authority.Store's.
func (s authorityStore) Load(ctx context.Context) (state []byte, revision uint64, err error) {
	err = s.store.Read(ctx, func(t *table.Tx) error {
		data, r, err := t.Blob(ctx, authorityBlob)
		state, revision = data, uint64(r)
		return err
	})
	if errors.Is(err, table.ErrNotFound) {
		return nil, 0, fmt.Errorf("reading the authority's state: %w", fs.ErrNotExist)
	}
	return state, revision, err
}

// Save is authority.Store's. If it is not known whether a change was made, the authority reads anew at its next one.
func (s authorityStore) Save(ctx context.Context, state []byte, revision uint64) error {
	err := s.store.Write(ctx, func(t *table.Tx) error { return t.SaveBlob(ctx, authorityBlob, state, int64(revision)) })
	if errors.Is(err, table.ErrConflict) {
		return fmt.Errorf("writing the authority's state: %w", authority.ErrConflict)
	}
	return err
}
