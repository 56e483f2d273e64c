package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/palisade-security/palisade/ledger"
)

// AddCheckpoint is the path below the URL of a witness under which it is asked to sign (C2SP tlog-witness).
const AddCheckpoint = "/add-checkpoint"

// OpenWitness opens the witness of a ledger whose public key is in a file, with its folder: its key, which is made under a name if there is none, and
// the last checkpoint that it signed.
func OpenWitness(own, name, key string) (*ledger.Witness, error) {
	if err := os.MkdirAll(own, 0o700); err != nil {
		return nil, fmt.Errorf("opening the folder of the witness: %w", err)
	}
	verifier, err := readKey(key)
	if err != nil {
		return nil, err
	}
	secret, err := witnessKey(own, name)
	if err != nil {
		return nil, err
	}
	signer, err := ledger.NewWitnessSigner(secret)
	if err != nil {
		return nil, err
	}
	return ledger.NewWitness(verifier, signer, &ownMemory{remembered: remembered(own)}), nil
}

// Answering signs what a witness is sent, if it goes on from all that it signed before. Whoever reaches it can ask; what it signs has the signature
// of the ledger. What the ledger signed and contradicts that is kept in the folder of the witness, as proof.
func Answering(w *ledger.Witness, own string, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+AddCheckpoint, func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(out, r.Body, ledger.MostAsked))
		if err != nil {
			http.Error(out, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
			return
		}
		line, err := w.Answer(body)
		refusal, refused := errors.AsType[*ledger.NotSignedError](err)
		switch {
		case err == nil:
			out.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = out.Write(line)
		case refused && refusal.Known:
			out.Header().Set("Content-Type", "text/x.tlog.size")
			out.WriteHeader(refusal.Status)
			_, _ = io.WriteString(out, strconv.FormatUint(refusal.Size, 10)+"\n")
		case refused:
			tellRefused(r.Context(), own, refusal, log)
			http.Error(out, http.StatusText(refusal.Status), refusal.Status)
		default:
			log.ErrorContext(r.Context(), "nothing is signed", "error", err)
			http.Error(out, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		}
	})
	return mux
}

// tellRefused tells of what was refused, and keeps it if it proves that the ledger has two histories.
func tellRefused(ctx context.Context, own string, refusal *ledger.NotSignedError, log *slog.Logger) {
	if !errors.Is(refusal, ledger.ErrForked) {
		log.InfoContext(ctx, "not signed", "error", refusal)
		return
	}
	log.ErrorContext(ctx, "not signed: the ledger has two histories; with the file last, the file refused is the proof", "folder", own, "error", refusal)
	if err := replace(filepath.Join(own, witnessRefused), refusal.Checkpoint); err != nil {
		log.ErrorContext(ctx, "what was refused is not kept", "error", err)
	}
}
