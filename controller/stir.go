package controller

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"

	"github.com/sipio/sipio/brain"
	calls "github.com/sipio/sipio/controller/session"
	"github.com/sipio/sipio/controller/stir"
)

// openStir gives calls their keys, and the way to the certificates of others: through the guard and with the authorities
// that the requests of flows have.
func openStir(cfg *Config, password func(acct *brain.AccountConfig, ref string) (string, error), log *slog.Logger) (*stir.Calls, error) {
	var fetcher *stir.Fetcher
	if len(cfg.StirHosts) > 0 {
		authorities, err := webAuthorities(cfg.FlowCAFile)
		if err != nil {
			return nil, err
		}
		if fetcher, err = stir.NewFetcher(stir.Options{Hosts: cfg.StirHosts, Guard: calls.Guard(cfg.FlowAllowNets), RootCAs: authorities}); err != nil {
			return nil, fmt.Errorf("stir-hosts: %w", err)
		}
	}
	c, err := stir.Open(stir.Settings{KeyFile: cfg.StirKeyFile, X5U: cfg.StirX5U, RootsFile: cfg.StirRootsFile}, fetcher, log)
	if err != nil {
		return nil, err
	}
	c.Password = password
	return c, nil
}

// webAuthorities are those of the system, and of a file in PEM beside them; path "" = no file.
func webAuthorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil // the system's, read when they are wanted
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without any: the file alone counts
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("flow-ca-file: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("flow-ca-file: %s holds no certificate", path)
	}
	return pool, nil
}
