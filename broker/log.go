package broker

import (
	"context"
	"log/slog"
)

// quiet is the log mochi gets. mochi logs network noise at WARN and lets whole packets through, payloads and, for a second CONNECT, the
// password. Here its warnings and below are debug, its errors warnings, and of the attributes only harmless scalars pass.
type quiet struct{ next slog.Handler }

func newQuiet(next slog.Handler) quiet { return quiet{next} }

func lowered(l slog.Level) slog.Level {
	if l >= slog.LevelError {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return q.next.Enabled(ctx, lowered(l))
}

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, lowered(r.Level), "mochi: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a, ok := harmless(a); ok {
			out.AddAttrs(a)
		}
		return true
	})
	return q.next.Handle(ctx, out)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	var kept []slog.Attr
	for _, a := range attrs {
		if a, ok := harmless(a); ok {
			kept = append(kept, a)
		}
	}
	return quiet{q.next.WithAttrs(kept)}
}

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.next.WithGroup(name)} }

func harmless(a slog.Attr) (slog.Attr, bool) {
	switch a.Key {
	case "error":
		a.Key = "err"
	case "err", "client", "remote", "listener", "hook", "version", "keepalive", "reason", "old_remote", "new_remote":
	default:
		return a, false
	}
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString, slog.KindInt64, slog.KindUint64, slog.KindBool:
		return a, true
	default:
		if err, ok := v.Any().(error); ok {
			return slog.String(a.Key, err.Error()), true
		}
	}
	return a, false
}
