package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/doctor"
	"github.com/sipio/sipio/controller"
	"github.com/sipio/sipio/internal/setting"
	"github.com/sipio/sipio/nodeagent"
)

// places says where the set-up of a machine stands.
type places struct {
	node, brain, bus                 bool // only these; none = what is set up here
	units, nodeEnv, brainEnv, busEnv string
	kamailio, media, rtpengine       string
	tunnelKey                        string
}

func newDoctor(s *server) *cobra.Command {
	var at places
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether this machine is shut as it should be; exit status 1 when a door stands open",
		Long: "Looks at the machine that it runs on, as root best: control sockets on loopback alone, default passwords, files of keys, certificates, versions with known holes, " +
			"bans in the kernel, the clock, and whether brains answer and take the key. With an API key of the scope platform it also looks at the versions that the nodes report. It changes nothing.\n" +
			"A line each: OK, WARN or FAIL, with what to do. Exit status 0: nothing says FAIL; 1: something does, or nothing could be looked at.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			exam := &exam{at: at}
			if err := exam.setUp(); err != nil {
				return err
			}
			exam.gather(cmd.Context(), s)
			findings := doctor.Examine(time.Now(), exam.facts)
			if err := writeFindings(cmd.OutOrStdout(), findings, asJSON); err != nil {
				return err
			}
			if doctor.Worst(findings) == doctor.Fail {
				return exitCode(exitFailed)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&at.node, "node", false, "look at the node of this machine; without --node, --brain and --bus at what is set up here")
	f.BoolVar(&at.brain, "brain", false, "look at the brain of this machine")
	f.BoolVar(&at.bus, "bus", false, "look at the bus of this machine")
	f.BoolVar(&asJSON, "json", false, "write the findings as JSON")
	f.StringVar(&at.nodeEnv, "node-env", "/etc/sipio/sipio-node.env", "settings of sipio-node")
	f.StringVar(&at.brainEnv, "brain-env", "/etc/sipio/sipio-brain.env", "settings of sipio-brain")
	f.StringVar(&at.busEnv, "bus-env", "/etc/sipio/sipio-bus.env", "settings of sipio-brain bus")
	f.StringVar(&at.units, "units", "/etc/systemd/system", "folder of the units, whose Environment= and LoadCredential= count too")
	f.StringVar(&at.kamailio, "kamailio-cfg", "/etc/sipio/kamailio/node.cfg", "Kamailio's values of this node")
	f.StringVar(&at.media, "freeswitch-vars", "/etc/sipio/freeswitch/vars.xml", "FreeSWITCH's values of this node")
	f.StringVar(&at.rtpengine, "rtpengine-conf", "/etc/sipio/rtpengine.conf", "configuration of rtpengine")
	f.StringVar(&at.tunnelKey, "tunnel-key", "/etc/sipio/tunnel.json", "credentials of the tunnel")
	return cmd
}

func writeFindings(w io.Writer, findings []doctor.Finding, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(findings)
	}
	for _, f := range findings {
		if _, err := fmt.Fprintf(w, "%-4s  %s: %s\n", f.Level, f.What, f.Text); err != nil {
			return err
		}
		if f.Cure != "" {
			if _, err := fmt.Fprintf(w, "      → %s\n", f.Cure); err != nil {
				return err
			}
		}
	}
	return nil
}

// exam gathers the facts of one machine.
type exam struct {
	at    places
	facts doctor.Facts
	sip   []uint16 // ports on which Kamailio listens

	node       *nodeagent.Config // nil: none is looked at
	nodeCreds  map[string]string // systemd credentials by name
	nodeUser   uint32            // who runs it (uid)
	brain      *controller.Config
	brainCreds map[string]string
	brainUser  uint32
	bus        *controller.BusConfig
	busUser    uint32
}

// setUp reads the settings of what is to be looked at.
func (e *exam) setUp() error {
	at := &e.at
	if !at.node && !at.brain && !at.bus {
		at.node, at.brain, at.bus = there(at.nodeEnv), there(at.brainEnv), there(at.busEnv)
	}
	if !at.node && !at.brain && !at.bus {
		return fmt.Errorf("none of %s, %s and %s is here: say --node, --brain or --bus for one that runs with its defaults, or name the files", at.nodeEnv, at.brainEnv, at.busEnv)
	}
	if at.node {
		c := nodeagent.DefaultConfig()
		set, err := e.read("sipio-node", at.nodeEnv, c.Settings())
		if err != nil {
			return err
		}
		e.node, e.nodeCreds, e.nodeUser = &c, set.credentials, set.uid(c.SpoolDir)
	}
	if at.brain {
		c := controller.DefaultConfig()
		set, err := e.read("sipio-brain", at.brainEnv, c.Settings())
		if err != nil {
			return err
		}
		e.brain, e.brainCreds, e.brainUser = &c, set.credentials, set.uid(c.DataDir)
	}
	if at.bus {
		c := controller.DefaultBusConfig()
		set, err := e.read("sipio-bus", at.busEnv, c.Settings())
		if err != nil {
			return err
		}
		e.bus, e.busUser = &c, set.uid(c.Dir)
	}
	return nil
}

// read sets what systemd gives a program.
func (e *exam) read(program, envFile string, of setting.List) (settings, error) {
	set, err := readSetUp(filepath.Join(e.at.units, program+".service"), envFile)
	if err == nil {
		err = of.SetFromEnv(set.lookup)
	}
	return set, err
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
