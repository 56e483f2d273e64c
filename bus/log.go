package bus

import (
	"fmt"
	"log/slog"
)

// serverLog hands a server's own words to slog; the server writes nothing itself.
type serverLog struct{ log *slog.Logger }

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
func (l serverLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }

// Debugf and Tracef show passing messages, which may hold secrets.
func (serverLog) Debugf(string, ...any) {}
func (serverLog) Tracef(string, ...any) {}
