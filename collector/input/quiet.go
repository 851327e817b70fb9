package input

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Quiet logs a trouble that repeats at most every ten seconds, and says then how
// often it was silent. The zero value with a Log is ready.
type Quiet struct {
	Log *slog.Logger

	mu     sync.Mutex
	last   time.Time
	silent int
}

// Warn logs a warning, or only counts it.
func (q *Quiet) Warn(msg string, args ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.last) < 10*time.Second {
		q.silent++
		return
	}
	if q.silent > 0 {
		args = append(args, "not_logged", q.silent)
	}
	q.last, q.silent = time.Now(), 0
	q.Log.Log(context.Background(), slog.LevelWarn, msg, args...)
}
