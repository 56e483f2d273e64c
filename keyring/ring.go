package keyring

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

const (
	ringFile  = "ring.pem" // the ring's own key, wrapped by the keeper
	ringKeys  = "keys"     // folder of sealed signing keys
	ringState = "state"    // folder of sealed state

	blockRing      = "PALISADE WRAPPED RING KEY"
	blockSealedKey = "PALISADE SEALED KEY"

	maxName = 128
)

// ErrSealed tells that sealed data does not open: another ring sealed it, under another name, or somebody
// changed it.
var ErrSealed = errors.New("sealed data does not open: other key, other name, or changed")

// Ring is a folder of signing keys and state, each sealed at rest (AES-256-GCM) under one key that the keeper
// wraps. The keeper is asked once, when the ring is opened; a keeper out of reach later stops nothing.
// It is safe for concurrent use, also by several processes on one folder.
type Ring struct {
	dir  string
	seal tink.AEAD
	key  *keyset.Handle
}

// OpenRing opens the ring in dir and makes it if there is none.
func OpenRing(ctx context.Context, dir string, keeper Keeper) (*Ring, error) {
	path := filepath.Join(dir, ringFile)
	for _, sub := range []string{ringKeys, ringState} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("opening the key ring: %w", err)
		}
	}
	data, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = makeRing(ctx, path, keeper)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the key ring: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != blockRing {
		return nil, fmt.Errorf("opening the key ring: %s has no %q block", path, blockRing)
	}
	plain, err := keeper.Decrypt(ctx, block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("opening the key ring: unwrapping %s: %w", path, err)
	}
	r := &Ring{dir: dir}
	if r.key, err = insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain))); err != nil {
		return nil, fmt.Errorf("opening the key ring: reading what %s wraps: %w", path, err)
	}
	if r.seal, err = aead.New(r.key); err != nil {
		return nil, fmt.Errorf("opening the key ring: %w", err)
	}
	return r, nil
}

// makeRing stores a new wrapped key and returns what lies there: in a race that may be another's.
func makeRing(ctx context.Context, path string, keeper Keeper) ([]byte, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	data, err := wrap(ctx, handle, keeper)
	if err != nil {
		return nil, err
	}
	if err := createPrivate(path, data); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return readPrivate(path)
}

// wrap returns a key set wrapped by keeper, as PEM.
func wrap(ctx context.Context, handle *keyset.Handle, keeper Keeper) ([]byte, error) {
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewBinaryWriter(&buf)); err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	wrapped, err := keeper.Encrypt(ctx, buf.Bytes())
	if err != nil {
		return nil, fmt.Errorf("wrapping a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockRing, Bytes: wrapped}), nil
}

// Rewrap stores the ring's key wrapped by another keeper, in place of the one before. Sealed data stays as it
// is, and so does the ring if the new keeper cannot unwrap what it wrapped.
func (r *Ring) Rewrap(ctx context.Context, keeper Keeper) error {
	data, err := wrap(ctx, r.key, keeper)
	if err == nil {
		block, _ := pem.Decode(data)
		_, err = keeper.Decrypt(ctx, block.Bytes)
	}
	if err == nil {
		err = replaceFile(filepath.Join(r.dir, ringFile), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("rewrapping the key ring: %w", err)
	}
	return nil
}

// Signer returns the signing key of a name, ECDSA on P-256, and makes it if there is none. All who ask for a
// name get the same key, also when they race.
func (r *Ring) Signer(ctx context.Context, name string) (crypto.Signer, error) {
	return r.signer(ctx, name, func() (crypto.Signer, error) { return newKey() })
}

// Ed25519 is Signer for a key of Ed25519 (RFC 8032).
func (r *Ring) Ed25519(ctx context.Context, name string) (ed25519.PrivateKey, error) {
	key, err := r.signer(ctx, name, func() (crypto.Signer, error) {
		_, made, err := ed25519.GenerateKey(rand.Reader)
		return made, err
	})
	if err != nil {
		return nil, err
	}
	out, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("opening the key %q: it is not of Ed25519", name)
	}
	return out, nil
}

func (r *Ring) signer(ctx context.Context, name string, generate func() (crypto.Signer, error)) (crypto.Signer, error) {
	key, err := r.Lookup(ctx, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	made, err := generate()
	if err != nil {
		return nil, fmt.Errorf("making the key %q: %w", name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		return nil, fmt.Errorf("encoding the key %q: %w", name, err)
	}
	sealed, err := r.seal.Encrypt(der, bound("key", name))
	if err != nil {
		return nil, fmt.Errorf("sealing the key %q: %w", name, err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: blockSealedKey, Bytes: sealed})
	if err := createPrivate(r.keyPath(name), data); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("writing the key %q: %w", name, err)
	}
	return r.Lookup(ctx, name)
}

// Lookup returns the signing key of a name. The error wraps fs.ErrNotExist if there is none, ErrSealed if it
// does not open.
func (r *Ring) Lookup(_ context.Context, name string) (crypto.Signer, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	data, err := readPrivate(r.keyPath(name))
	if err != nil {
		return nil, fmt.Errorf("reading the key %q: %w", name, err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != blockSealedKey {
		return nil, fmt.Errorf("reading the key %q: no %q block found", name, blockSealedKey)
	}
	der, err := r.seal.Decrypt(block.Bytes, bound("key", name))
	if err != nil {
		return nil, fmt.Errorf("opening the key %q: %w", name, ErrSealed)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("opening the key %q: %w", name, ErrSealed)
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("opening the key %q: it does not sign", name)
	}
	return signer, nil
}

// Remove deletes the signing key of a name; that there is none is no error.
func (r *Ring) Remove(_ context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := os.Remove(r.keyPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the key %q: %w", name, err)
	}
	return syncDir(filepath.Join(r.dir, ringKeys))
}

func (r *Ring) keyPath(name string) string { return filepath.Join(r.dir, ringKeys, name+".pem") }

// bound is the associated data that ties sealed bytes to this format (v1), their kind and their name: a file
// put in another's place does not open.
func bound(kind, name string) []byte { return []byte("palisade ring v1\x00" + kind + "\x00" + name) }

// checkName refuses what is no plain file name: names come from the model as well.
func checkName(name string) error {
	if name == "" || len(name) > maxName || name[0] == '.' ||
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return fmt.Errorf("%q is no name in a key ring: lower-case letters, digits, - _ . and at most %d of them", name, maxName)
	}
	return nil
}
