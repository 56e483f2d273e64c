package isolate

import (
	"context"
	"errors"
	"fmt"
)

// Check reports why services cannot be isolated here, or nil, and whether they can have processes of their own too. Some systems let
// only root make network namespaces, or nobody; within a container, /proc can often not be mounted.
func Check(ctx context.Context, folder string) (processes bool, err error) {
	if check(ctx, folder, true) == nil {
		return true, nil
	}
	return false, check(ctx, folder, false)
}

func check(ctx context.Context, folder string, processes bool) error {
	cmd, line, err := Command([]string{"true"}, processes)
	if err != nil {
		return err
	}
	defer cmd.ExtraFiles[0].Close()
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("making a network namespace: %w", err), line.Close())
	}
	pod, err := Open(ctx, line, &Spec{Folder: folder, Processes: processes})
	if err == nil {
		err = pod.Close()
	}
	_ = cmd.Process.Kill() // fails only when it has ended
	_ = cmd.Wait()         // it was killed, or ended when its line was closed
	return err
}
