package bus

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

// serverLog hands a server's own words to slog; the server writes nothing itself.
type serverLog struct {
	log   *slog.Logger
	fatal *atomic.Pointer[string] // the last thing that it could not go on from
}

const serverSays = "bus server"

func (l serverLog) Noticef(format string, v ...any) {
	l.log.Debug(serverSays, "text", fmt.Sprintf(format, v...))
}

func (l serverLog) Warnf(format string, v ...any) {
	l.log.Warn(serverSays, "text", fmt.Sprintf(format, v...))
}

func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error(serverSays, "text", fmt.Sprintf(format, v...))
}

// Fatalf is the server's word for what it cannot go on from; ending the process is not its business here.
func (l serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.Store(&text)
	l.log.Error(serverSays, "text", text)
}

// Debugf and Tracef show passing messages, which may hold secrets.
func (serverLog) Debugf(string, ...any) {}
func (serverLog) Tracef(string, ...any) {}
