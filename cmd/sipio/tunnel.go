package main

import (
	"github.com/spf13/cobra"

	"github.com/sipio/sipio/nodeagent/tunnel"
)

func newTunnel() *cobra.Command {
	cmd := &cobra.Command{Use: "tunnel", Short: "Write the configuration of a node's tunnel, offline"}
	cmd.AddCommand(newTunnelRender())
	return cmd
}

func newTunnelRender() *cobra.Command {
	c := tunnel.Config{Credentials: tunnel.DefaultCredentials, OpListen: "127.0.0.1:8481", Metrics: tunnel.DefaultMetrics}
	cmd := &cobra.Command{
		Use:   "render --hostname NAME --tunnel ID [--credentials-file PATH] [--op-listen ADDRESS] [--metrics ADDRESS]",
		Short: "Print the configuration file of cloudflared on a node",
		Long: "Prints the file by which cloudflared leads orders (/op) and /health for one hostname to the node agent, and answers 404 to everything else.\n" +
			"Nothing is read or asked: the credentials file need not be there. docs/tunnel.md says what to do with it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := c.Render()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&c.Hostname, "hostname", "", "public name of the node, such as node-1.op.example.org")
	cmd.Flags().StringVar(&c.Tunnel, "tunnel", "", "id of the tunnel")
	cmd.Flags().StringVar(&c.Credentials, "credentials-file", c.Credentials, "the tunnel's credentials, as cloudflared on the node sees them")
	cmd.Flags().StringVar(&c.OpListen, "op-listen", c.OpListen, "loopback address of the node agent's orders, its --op-listen")
	cmd.Flags().StringVar(&c.Metrics, "metrics", c.Metrics, "loopback address of cloudflared's own /ready and /metrics")
	return cmd
}
