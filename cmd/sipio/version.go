package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/api"
)

// version is set by the release build with -ldflags "-X main.version=…".
var version string

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of this program and of the protocol",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			built := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				built = cmp.Or(info.Main.Version, built)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "sipio %s, protocol %s, %s\n", cmp.Or(version, built), api.Version, runtime.Version())
			return err
		},
	}
}
