package ledger

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// algEd25519 is the algorithm of a key in its text (C2SP signed-note).
const algEd25519 = 1

// NewSigner makes what signs checkpoints from a key, under the name of the ledger, and the text of its public key.
func NewSigner(name string, key ed25519.PrivateKey) (note.Signer, string, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, "", fmt.Errorf("making the signer %q: the key is not of Ed25519", name)
	}
	verifier, err := note.NewEd25519VerifierKey(name, public)
	if err != nil {
		return nil, "", fmt.Errorf("making the signer %q: %w", name, err)
	}
	parts := strings.SplitN(verifier, "+", 3)
	secret := "PRIVATE+KEY+" + name + "+" + parts[1] + "+" + base64.StdEncoding.EncodeToString(append([]byte{algEd25519}, key.Seed()...))
	s, err := note.NewSigner(secret)
	if err != nil {
		return nil, "", fmt.Errorf("making the signer %q: %w", name, err)
	}
	return s, verifier, nil
}

// NewVerifier reads the public key of a ledger.
func NewVerifier(text string) (note.Verifier, error) {
	v, err := note.NewVerifier(strings.TrimSpace(text))
	if _, of := f_note.NewVerifierForCosignatureV1(strings.TrimSpace(text)); err != nil && of == nil {
		return nil, errors.New("reading the public key of a ledger: this is the key of a witness; expected that of the ledger, key.pub")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the public key of a ledger: %w", err)
	}
	return v, nil
}

// NewWitnessKey makes a key of a witness: the secret one, and the public one by which Keys know its signatures (C2SP
// tlog-cosignature).
func NewWitnessKey(name string) (secret, public string, err error) {
	secret, plain, err := note.GenerateKey(rand.Reader, name)
	if err == nil {
		public, err = f_note.VKeyToCosignatureV1(plain)
	}
	if err != nil {
		return "", "", fmt.Errorf("making the key of the witness %q: %w", name, err)
	}
	return secret, public, nil
}

// NewWitnessSigner reads the secret key of a witness.
func NewWitnessSigner(secret string) (note.Signer, error) {
	s, err := f_note.NewSignerForCosignatureV1(strings.TrimSpace(secret))
	if err != nil {
		return nil, fmt.Errorf("reading the key of a witness: %w", err)
	}
	return s, nil
}

// NewWitnessVerifier reads the public key of a witness.
func NewWitnessVerifier(text string) (note.Verifier, error) {
	v, err := f_note.NewVerifierForCosignatureV1(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("reading the public key of a witness: %w", err)
	}
	return v, nil
}
