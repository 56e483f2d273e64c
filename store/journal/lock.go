package journal

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockDir opens a directory and takes it for this open file alone (flock(2)); the lock goes when the file
// is closed or the process dies.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("opening journal %q: %w", dir, ErrLocked), f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking journal %q: %w", dir, err), f.Close())
	}
	return f, nil
}
