// Command fengsui is every service of Fengsui (烽燧) and the tools of those who
// run it. Each service can be run by itself; `fengsui up` runs all of them on
// one machine, on embedded engines.
//
// Exit codes: 0 success; 1 failure; 2 wrong use or configuration; 3 a check that
// was asked for found something (rules check, rules test, config check).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once, whatever it waits for.
	context.AfterFunc(ctx, stop)
	err := newRoot().ExecuteContext(ctx)
	stop()
	os.Exit(exitCode(os.Stderr, err))
}

// usageError is a wrong call or configuration; findingError says that a check
// found something. Everything else is a failure.
type (
	usageError   struct{ error }
	findingError struct{ error }
)

func (e usageError) Unwrap() error   { return e.error }
func (e findingError) Unwrap() error { return e.error }

func exitCode(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(w, "fengsui:", err)
	switch {
	case errors.As(err, new(findingError)):
		return 3
	case errors.As(err, new(usageError)):
		return 2
	}
	return 1
}

// globalFlags are those of every command.
type globalFlags struct {
	config  string
	dataDir string
	json    bool
	logTo   io.Writer
}

func newRoot() *cobra.Command {
	flags := &globalFlags{logTo: os.Stderr}
	root := &cobra.Command{
		Use:   "fengsui",
		Short: "烽燧：教育网络资产与安全态势平台 / assets and security of an education network",
		Long: `烽燧 Fengsui：知道自己有什么、谁负责、变了什么、谁在攻击、谁在“挖矿”，并在数秒内让该知道的人知道。
Know what you own, who answers for it, what changed, who attacks or mines, and tell who must know within seconds.`,
		Example:       "  fengsui up --data-dir ./data\n  fengsui alerts --json 'level = high'",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	pf := root.PersistentFlags()
	pf.StringVar(&flags.config, "config", "", "configuration file (default: fengsui.yaml in the data directory, if there is one)")
	pf.StringVar(&flags.dataDir, "data-dir", "", "where everything is kept (default: data_dir of the configuration, or ./data)")
	pf.BoolVar(&flags.json, "json", false, "write JSON, one object a line")
	root.AddCommand(
		newUp(flags), newCollector(flags), newScanner(flags), newAnalyzer(flags), newConsole(flags),
		newStore(flags), newBroker(flags), newMigrate(flags),
		newReplay(flags), newParse(flags),
		newEvents(flags), newAlerts(flags), newMining(flags), newAssets(flags), newGraph(flags), newSearch(flags), newDrift(flags), newWho(flags),
		newScan(flags), newRegistry(flags), newRules(flags), newMask(flags), newConfigCommand(flags), newUser(flags),
	)
	checkCalls(root)
	return root
}

// besideCommands marks a command that takes arguments and has commands beside it.
const besideCommands = "takes arguments beside its commands"

// checkCalls makes every wrong call a usage error, for cobra itself calls them
// failures, and shows help where a group's command is unknown as if all were
// well.
func checkCalls(cmd *cobra.Command) {
	if cmd.HasSubCommands() && cmd.Annotations[besideCommands] == "" {
		own := cmd.RunE // of a service that has commands beside it
		cmd.Args, cmd.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if own != nil && len(args) == 0 {
				return own(cmd, args)
			}
			return unknownCommand(cmd, args)
		}
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		checkCalls(sub)
	}
}

// unknownCommand is what a command does that is only a group of others.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	err := fmt.Errorf("unknown command %q; see %s --help", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("unknown command %q; did you mean %s %s?", args[0], cmd.CommandPath(), near[0])
	}
	return usageError{err}
}

func (c LogConfig) level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.Level)); err != nil {
		return l, fmt.Errorf("log.level %q is none of debug, info, warn, error", c.Level)
	}
	return l, nil
}

func newLogger(c LogConfig, w io.Writer) (*slog.Logger, error) {
	level, err := c.level()
	if err != nil {
		return nil, err
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return slog.New(slog.NewTextHandler(w, opts)), nil
}

// isTerminal says whether a person reads what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
