package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"fengsui/internal/config"
)

func newConfigCommand(flags *globalFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "配置 / the configuration", Example: "  fengsui config dump"}
	cmd.AddCommand(
		&cobra.Command{
			Use: "check", Short: "检查配置 / check the configuration and say everything that is wrong",
			Example: "  fengsui config check --config /etc/fengsui.yaml", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				cfg, err := loadConfig(flags)
				if err != nil {
					return findingError{err}
				}
				if cfg.embeddedBroker && len(cfg.Kafka.Brokers) == 0 { // `up` will choose it
					cfg.Kafka.Brokers = []string{"127.0.0.1:9092"}
					cfg.Collector.Kafka = cfg.Kafka
				}
				if err := cfg.checkServices(); err != nil {
					return findingError{err}
				}
				return out(cmd, flags, map[string]bool{"ok": true}, "配置正确 / the configuration is right")
			},
		},
		&cobra.Command{
			Use: "dump", Short: "写出全部配置及默认值 / write the whole configuration, defaults included",
			Example: "  fengsui config dump > fengsui.yaml", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				cfg, err := loadConfig(flags)
				if err != nil {
					return usageError{err}
				}
				dump, err := config.Dump(*cfg)
				if err != nil {
					return err
				}
				if !flags.json {
					_, err := fmt.Fprint(cmd.OutOrStdout(), string(dump))
					return err
				}
				var v any
				if err := yaml.Unmarshal(dump, &v); err != nil {
					return err
				}
				return out(cmd, flags, v, "")
			},
		},
	)
	return cmd
}
