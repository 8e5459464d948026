// Command graft trains image classifiers on pretrained networks, and uses them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/graft-ml/graft"
)

type cli struct {
	Demo     demoCmd     `cmd:"" help:"The whole story on sample data: train, draw curves, predict."`
	Train    trainCmd    `cmd:"" help:"Train a classifier on a folder of photos."`
	Finetune finetuneCmd `cmd:"" help:"Train the head, then the whole network with lower rates for earlier layers."`
	LRFind   lrFindCmd   `cmd:"" name:"lr-find" help:"Draw the loss against the learning rate, and suggest one."`
	Compare  compareCmd  `cmd:"" help:"Train on several networks, and compare accuracy, speed and size."`
	Predict  predictCmd  `cmd:"" help:"Classify photos."`
	Eval     evalCmd     `cmd:"" help:"Measure a classifier on photos whose classes are known."`
	Embed    embedCmd    `cmd:"" help:"Write the pooled features of photos to a NumPy file."`
	Summary  summaryCmd  `cmd:"" help:"List a network's layers, shapes and parameters, as torchinfo does."`
	Models   modelsCmd   `cmd:"" help:"List the pretrained weights."`
	Bench    benchCmd    `cmd:"" help:"Measure a network's speed on this machine."`
	Pull     pullCmd     `cmd:"" help:"Download pretrained weights into the cache."`

	Threads int              `help:"Processors to use; 0 means all." default:"0"`
	Version kong.VersionFlag `help:"Print the version."`
}

// env is what commands get besides their flags.
type env struct {
	context.Context
	threads int
}

// errReported ends the program with status 1 after the errors have been printed.
var errReported = errors.New("")

func main() {
	var c cli
	parser := kong.Must(&c,
		kong.Name("graft"),
		kong.Description("Transfer learning on images: photos in folders in, a classifier out."),
		kong.ShortUsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"version": graft.Version()},
	)
	k, err := parser.Parse(flagsFirst(parser.Model.Node, os.Args[1:]))
	parser.FatalIfErrorf(err)
	if most := graft.MaxThreads(); c.Threads < 0 || c.Threads > most {
		k.Fatalf("--threads %d: there must be at least one, and more than %d gain nothing here; 0 means all processors", c.Threads, most)
	}
	if c.Threads > 0 {
		runtime.GOMAXPROCS(c.Threads)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = k.Run(&env{ctx, c.Threads})
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err == nil:
	case interrupted:
		fmt.Fprintln(os.Stderr, "graft: interrupted")
		os.Exit(130)
	case errors.Is(err, errReported):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "graft:", err)
		os.Exit(1)
	}
}
