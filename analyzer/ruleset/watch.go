package ruleset

import (
	"fmt"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A file is written in steps: reading waits until the folder has been quiet for
// settle, but not longer than patience.
const (
	settle   = 200 * time.Millisecond
	patience = 2 * time.Second
)

// watcher tells when something in the folders has changed and settled. Without
// the system's help it never does: then the folders are read every so often.
type watcher struct {
	set     *Set
	notify  *fsnotify.Watcher
	watched map[string]bool
	quiet   chan struct{}
	stop    chan struct{}
	done    chan struct{}
}

func (s *Set) watch() *watcher {
	w := &watcher{set: s, watched: map[string]bool{}, quiet: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		s.log.Warn("changes of rules are seen late", "error", fmt.Errorf("%w: %w", ErrUnwatched, err), "within", s.cfg.Rescan)
		close(w.done)
		return w
	}
	w.follow(s.folders())
	go w.run()
	return w
}

// settled tells that something has changed, and that no more changes for now.
func (w *watcher) settled() <-chan struct{} { return w.quiet }

// follow watches folders that are new. Those that are gone are forgotten by the
// system.
func (w *watcher) follow(folders []string) {
	if w.notify == nil {
		return
	}
	now := map[string]bool{}
	for _, f := range folders {
		now[f] = true
		if err := w.notify.Add(f); err != nil && !w.watched[f] {
			w.set.log.Warn("changes of rules are seen late", "error", fmt.Errorf("%w: %w", ErrUnwatched, err), "within", w.set.cfg.Rescan)
		}
	}
	w.watched = now
}

func (w *watcher) run() {
	defer close(w.done)
	var begun time.Time
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case <-w.stop:
			return
		case e, ok := <-w.notify.Events:
			if !ok {
				return
			}
			if e.Op == fsnotify.Chmod {
				continue
			}
			if begun.IsZero() {
				begun = time.Now()
			}
			timer.Reset(min(settle, max(0, patience-time.Since(begun))))
		case err, ok := <-w.notify.Errors:
			if !ok {
				return
			}
			w.set.log.Warn("watching rules", "error", err) // events may be lost: look now
			timer.Reset(settle)
		case <-timer.C:
			begun = time.Time{}
			select {
			case w.quiet <- struct{}{}:
			default:
			}
		}
	}
}

func (w *watcher) close() {
	close(w.stop)
	<-w.done
	if w.notify != nil {
		_ = w.notify.Close() // nothing is left to be told
	}
}
