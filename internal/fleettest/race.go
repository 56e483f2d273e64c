package fleettest

import "os"

// EndAtOnce lets processes that tests start end at once. With the race detector each sleeps for a second first, in case another
// thread has something to tell, which is most of the time that a test of many short processes takes.
func EndAtOnce() error {
	return os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
}
