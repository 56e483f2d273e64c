package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keeper wraps a few small keys with a key that it does not give away: a cloud KMS or Vault (keyring/kms), or
// the local key file. Calls may go over the network. It is safe for concurrent use.
type Keeper interface {
	Encrypt(ctx context.Context, plaintext []byte) ([]byte, error)
	Decrypt(ctx context.Context, ciphertext []byte) ([]byte, error)
}

const (
	localKeeperFile  = "keeper.json" // a Tink keyset in clear, mode 0600
	localKeeperBound = "palisade local keeper v1"
)

// localKeeper wraps with a key that lies in a file of mode 0600.
type localKeeper struct{ seal tink.AEAD }

// LocalKeeper opens the key file in dir and makes it if there is none. Whoever reads this file and the ring
// reads its keys: it guards against a copy of the ring alone, no more. Use keyring/kms to do better.
func LocalKeeper(dir string) (Keeper, error) {
	path := filepath.Join(dir, localKeeperFile)
	data, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = makeLocalKeeper(path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the local keeper: %w", err)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("opening the local keeper: %s is not a key set: %w", path, err)
	}
	seal, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("opening the local keeper: %w", err)
	}
	return &localKeeper{seal: seal}, nil
}

// makeLocalKeeper writes a new key file and returns what lies there: in a race that may be another's.
func makeLocalKeeper(path string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&buf)); err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	if err := createPrivate(path, buf.Bytes()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return readPrivate(path)
}

func (k *localKeeper) Encrypt(_ context.Context, plaintext []byte) ([]byte, error) {
	return k.seal.Encrypt(plaintext, []byte(localKeeperBound))
}

func (k *localKeeper) Decrypt(_ context.Context, ciphertext []byte) ([]byte, error) {
	return k.seal.Decrypt(ciphertext, []byte(localKeeperBound))
}
