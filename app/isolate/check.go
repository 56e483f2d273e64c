package isolate

import (
	"context"
	"errors"
	"fmt"
)

// Check reports why services cannot be isolated here, or nil. Some systems let only root make network namespaces, or
// nobody.
func Check(ctx context.Context, folder string) error {
	cmd, line, err := Command([]string{"true"})
	if err != nil {
		return err
	}
	defer cmd.ExtraFiles[0].Close()
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("making a network namespace: %w", err), line.Close())
	}
	pod, err := Open(ctx, line, &Spec{Folder: folder})
	if err == nil {
		err = pod.Close()
	}
	_ = cmd.Process.Kill() // fails only when it has ended
	_ = cmd.Wait()         // it was killed, or ended when its line was closed
	return err
}
