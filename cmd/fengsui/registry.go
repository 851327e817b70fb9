package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/internal/directory"
	"fengsui/registry"
)

func newRegistry(flags *globalFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "registry", Short: "台账：单位、网络、域名、白名单 / units, networks, domains and whitelists",
		Example: "  fengsui registry import 台账.xlsx",
	}
	cmd.AddCommand(newRegistryImport(flags), newRegistryExport(flags), newRegistryDelete(flags), newRegistrySeed(flags), newRegistryTemplate(flags),
		newRegistryAt(flags), newRegistryHistory(flags), newRegistryExpiring(flags), newRegistryState(flags), newRegistryRequests(flags), newRegistryDecide(flags))
	return cmd
}

// me is who changes of the registry are noted for.
func me() string {
	if u, err := user.Current(); err == nil {
		return u.Username + " (cli)"
	}
	return "cli"
}

// open opens the registry where the configuration keeps it.
func (c RegistryConfig) open(ctx context.Context) (*registry.Registry, error) {
	if c.DSN != "" {
		return registry.OpenPostgres(ctx, c.DSN)
	}
	return registry.Open(ctx, c.Path)
}

// registryAt is the registry as it was; a zero time is now.
func registryAt(ctx context.Context, cfg *Config, at time.Time) (_ *directory.Snapshot, err error) {
	reg, err := cfg.Registry.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reg.Close()) }()
	if at.IsZero() {
		return reg.Snapshot(ctx)
	}
	return reg.SnapshotAt(ctx, at)
}

func withRegistry(cmd *cobra.Command, flags *globalFlags, f func(*registry.Registry) error) error {
	cfg, err := loadConfig(flags)
	if err != nil {
		return usageError{err}
	}
	reg, err := cfg.Registry.open(cmd.Context())
	if err != nil {
		return err
	}
	defer reg.Close()
	return f(reg)
}

func newRegistryImport(flags *globalFlags) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "import FILE", Short: "导入 YAML、CSV 或 Excel / read a YAML, CSV or Excel file into the registry",
		Long: `导入台账文件。全部写入，或一条也不写；错误指出表、行与列。--dry-run 只检查并列出将有的变更。
Read a file into the registry: all of it or nothing; errors name sheet, row and
column. What is there already and unchanged stays as it is, and nothing is
deleted. --dry-run checks everything and lists what would change.`,
		Example: "  fengsui registry import 台账.xlsx --dry-run", Args: exactArgs(1, "a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			content, err := registry.ReadFile(args[0], f)
			if err != nil {
				return refusedFile(cmd, flags, err)
			}
			return withRegistry(cmd, flags, func(reg *registry.Registry) error {
				if dryRun {
					return planImport(cmd, flags, reg, content)
				}
				changed, err := reg.Put(cmd.Context(), me(), content)
				if err != nil {
					return refusedFile(cmd, flags, err)
				}
				return out(cmd, flags, map[string]int{"read": content.Len(), "changed": changed},
					fmt.Sprintf("读入 %d 条，变更 %d 条 / %d entries read, %d changed", content.Len(), changed, content.Len(), changed))
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing; list what would change")
	return cmd
}

// refusedFile says what is wrong with a file; with --json also row by row.
func refusedFile(cmd *cobra.Command, flags *globalFlags, err error) error {
	if rows := registry.RowErrors(err); flags.json && len(rows) > 0 {
		if err := json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"errors": rows}); err != nil {
			return err
		}
	}
	if len(registry.RowErrors(err)) > 0 {
		return usageError{err}
	}
	return wrongUse(err)
}

func planImport(cmd *cobra.Command, flags *globalFlags, reg *registry.Registry, content *registry.Content) error {
	changes, err := reg.Plan(cmd.Context(), content)
	if err != nil {
		return refusedFile(cmd, flags, err)
	}
	if flags.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"read": content.Len(), "changes": changes})
	}
	rows := changeRows(changes, func(c *registry.Change) []string { return []string{c.Key} })
	if err := table(cmd.OutOrStdout(), []string{"条目 / entry", "变更 / what"}, rows); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "读入 %d 条，将变更 %d 条，未写入 / %d entries read, %d would change, nothing written\n",
		content.Len(), len(changes), content.Len(), len(changes))
	return err
}

func newRegistryExport(flags *globalFlags) *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use: "export FILE", Short: "导出为 YAML、Excel 或 CSV / write the registry to a YAML, Excel or CSV file",
		Long: `导出台账；CSV 只放一类条目，用 --kind 指定。
Write the registry to a file that import reads. A CSV file holds one kind of
entry, which --kind names. The file holds the contacts of units: keep it private.`,
		Example: "  fengsui registry export 台账.xlsx\n  fengsui registry export 白名单.csv --kind whitelist", Args: exactArgs(1, "a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRegistry(cmd, flags, func(reg *registry.Registry) error {
				content, err := reg.All(cmd.Context())
				if err != nil {
					return err
				}
				if content, err = content.Only(kind); err != nil {
					return usageError{err}
				}
				var b bytes.Buffer
				if err := registry.WriteFile(args[0], &b, content); err != nil {
					return usageError{err}
				}
				if err := os.WriteFile(args[0], b.Bytes(), 0o600); err != nil {
					return err
				}
				return out(cmd, flags, map[string]int{"written": content.Len()},
					fmt.Sprintf("写出 %d 条 / %d entries written", content.Len(), content.Len()))
			})
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "only this kind: "+strings.Join(registry.Kinds(), ", "))
	return cmd
}

func newRegistryTemplate(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "template FILE.xlsx", Short: "生成台账填报模板 / make an empty Excel workbook to fill in and import",
		Example: "  fengsui registry template 台账模板.xlsx", Args: exactArgs(1, "a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !strings.EqualFold(filepath.Ext(args[0]), ".xlsx") {
				return usageError{fmt.Errorf("%s does not end in .xlsx", args[0])}
			}
			var b bytes.Buffer
			if err := registry.WriteTemplate(&b); err != nil {
				return err
			}
			if err := os.WriteFile(args[0], b.Bytes(), 0o600); err != nil {
				return err
			}
			return out(cmd, flags, map[string]string{"written": args[0]}, "已生成 / made: "+args[0])
		},
	}
}

func newRegistryDelete(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "delete KEY...", Short: "删除条目 / delete entries by key",
		Example: "  fengsui registry delete whitelist/host/192.0.2.1/32 network/192.0.2.0/24", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRegistry(cmd, flags, func(reg *registry.Registry) error {
				if err := reg.Delete(cmd.Context(), me(), args...); err != nil {
					return err
				}
				return out(cmd, flags, map[string]int{"deleted": len(args)}, fmt.Sprintf("删除 %d 条 / %d deleted", len(args), len(args)))
			})
		},
	}
}

func newRegistrySeed(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "seed NAME", Short: "写入自带的行政区划 / add the divisions that come with the program (" + strings.Join(registry.Seeds(), ", ") + ")",
		Long: `写入自带的行政区划，作为单位树的骨架；已有的单位保持不变。
Add the national divisions that come with the program as the trunk of the tree
of units. What is there already stays as it is.`,
		Example: "  fengsui registry seed henan", Args: exactArgs(1, "a name"), ValidArgs: registry.Seeds(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRegistry(cmd, flags, func(reg *registry.Registry) error {
				added, err := reg.Seed(cmd.Context(), me(), args[0])
				if errors.Is(err, registry.ErrNotFound) {
					return usageError{err}
				}
				if err != nil {
					return err
				}
				return out(cmd, flags, map[string]int{"added": added}, fmt.Sprintf("新增 %d 个单位 / %d units added", added, added))
			})
		},
	}
}

func newUser(flags *globalFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "控制台用户 / users of the console", Example: "  fengsui user reset admin"}
	var role, unit string
	reset := &cobra.Command{
		Use: "reset NAME", Short: "新建用户或重置口令 / make a user, or give one a new one-time password",
		Example: "  fengsui user reset admin\n  fengsui user reset zhang --role analyst --unit 10001", Args: exactArgs(1, "a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := registry.Role(role)
			if r != registry.RoleAdmin && r != registry.RoleAnalyst && r != registry.RoleAuditor {
				return usageError{fmt.Errorf("--role %q is none of admin, analyst, auditor", role)}
			}
			return withRegistry(cmd, flags, func(reg *registry.Registry) error {
				password, err := reg.ResetPassword(cmd.Context(), registry.User{Name: args[0], Role: r, Unit: unit})
				if err != nil {
					return err
				}
				return out(cmd, flags, map[string]string{"user": args[0], "one_time_password": password},
					fmt.Sprintf("%s 的一次性口令 / one-time password: %s", args[0], password))
			})
		},
	}
	reset.Flags().StringVar(&role, "role", "admin", "admin, analyst or auditor; kept for a user who exists")
	reset.Flags().StringVar(&unit, "unit", "", "code of the unit that the user is confined to; kept for a user who exists")
	cmd.AddCommand(reset)
	return cmd
}

// exactArgs is cobra.ExactArgs with a sentence that says what is missing.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s takes %s; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())}
		}
		return nil
	}
}
