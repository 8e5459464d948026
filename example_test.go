package graft_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/graft-ml/graft"
	"github.com/graft-ml/graft/internal/draw"
)

// The main job: a pretrained network gets a new head, which learns the classes of a folder of photos.
func Example() {
	ctx := context.Background()
	model, err := graft.Load(ctx, "efficientnet_b0", nil) // downloaded once
	if err != nil {
		log.Fatal(err)
	}
	data, err := graft.OpenDataset("pizza_steak_sushi", graft.DatasetOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if err := model.ReplaceHead(data.Classes, 0.2); err != nil {
		log.Fatal(err)
	}
	if err := model.Freeze("features"); err != nil {
		log.Fatal(err)
	}
	run, err := model.Train(ctx, data, graft.TrainOptions{Epochs: 5, Seed: 42})
	if err != nil {
		log.Fatal(err)
	}
	if err := run.Save("runs/pizza_steak_sushi", false); err != nil {
		log.Fatal(err)
	}
}

// A model that was saved predicts anywhere.
func ExampleModel_Predict() {
	model, err := graft.Open("runs/pizza_steak_sushi")
	if err != nil {
		log.Fatal(err)
	}
	photo, err := os.ReadFile("dinner.jpg")
	if err != nil {
		log.Fatal(err)
	}
	prediction, err := model.Predict(photo)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, with probability %.3f\n", prediction.Best().Name, prediction.Best().Probability)
}

// How good a model is, and where it is wrong.
func ExampleModel_Evaluate() {
	model, err := graft.Open("runs/pizza_steak_sushi")
	if err != nil {
		log.Fatal(err)
	}
	photos, err := graft.OpenPhotos("pizza_steak_sushi/test", model.Classes())
	if err != nil {
		log.Fatal(err)
	}
	e, err := model.Evaluate(context.Background(), photos, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("accuracy %.3f, macro F1 %.3f, calibration error %.3f\n", e.Accuracy, e.Macro.F1, e.ECE)
	for _, r := range e.TopLosses(3) {
		fmt.Printf("%s: %s, not %s? (loss %.2f)\n", r.File, r.Predicted, r.True, r.Loss)
	}
	if err := e.Save("runs/pizza_steak_sushi/eval"); err != nil { // tables and pictures
		log.Fatal(err)
	}
}

// Where there are photos enough, the pretrained layers learn too: the head first, and then all of the
// network, with lower learning rates for earlier layers.
func ExampleModel_Finetune() {
	ctx := context.Background()
	model, err := graft.Load(ctx, "efficientnet_b0", nil)
	if err != nil {
		log.Fatal(err)
	}
	data, err := graft.OpenDataset("pizza_steak_sushi", graft.DatasetOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if err := model.ReplaceHead(data.Classes, 0.2); err != nil {
		log.Fatal(err)
	}
	run, err := model.Finetune(ctx, data, graft.FinetuneOptions{TrainOptions: graft.TrainOptions{
		Epochs: 5, Seed: 42, Augment: "light", Norms: "eval",
		State: "runs/finetuned.training", Resume: true, // goes on where it was stopped
	}})
	if err != nil {
		log.Fatal(err)
	}
	if err := run.Save("runs/finetuned", false); err != nil {
		log.Fatal(err)
	}
}

// The solver computes the optimum of a new head at once, and chooses its penalty by cross-validation.
func ExampleModel_Train_solver() {
	dir, err := os.MkdirTemp("", "graft")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	photos, weights := filepath.Join(dir, "photos"), formulaWeights(dir, "shufflenet_v2_x0_5")
	if err := draw.Dataset(photos, 1, 4, 2); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	data, err := graft.OpenDataset(photos, graft.DatasetOptions{})
	if err != nil {
		log.Fatal(err)
	}
	model, err := graft.Load(ctx, "shufflenet_v2_x0_5", &graft.LoadOptions{File: weights})
	if err != nil {
		log.Fatal(err)
	}
	if err := model.ReplaceHead(data.Classes, 0); err != nil {
		log.Fatal(err)
	}
	model.FreezeTrunk()
	run, err := model.Train(ctx, data, graft.TrainOptions{Solver: "lbfgs", Augment: "light", Views: 4})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(run.History), "epoch; learnt better than by chance:", run.History[0].TrainAcc > 0.5)
	// Output: 1 epoch; learnt better than by chance: true
}

// All of it without a network: on pictures that are drawn, with weights from a local checkpoint.
func ExampleLoad() {
	dir, err := os.MkdirTemp("", "graft")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	photos, weights := filepath.Join(dir, "photos"), formulaWeights(dir, "resnet18")
	if err := draw.Dataset(photos, 1, 4, 2); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	data, err := graft.OpenDataset(photos, graft.DatasetOptions{})
	if err != nil {
		log.Fatal(err)
	}
	model, err := graft.Load(ctx, "resnet18", &graft.LoadOptions{File: weights})
	if err != nil {
		log.Fatal(err)
	}
	if err := model.ReplaceHead(data.Classes, 0); err != nil {
		log.Fatal(err)
	}
	model.FreezeTrunk()
	run, err := model.Train(ctx, data, graft.TrainOptions{Epochs: 100, LR: 0.01})
	if err != nil {
		log.Fatal(err)
	}
	last := run.History[len(run.History)-1]
	fmt.Println(model.Classes(), "learnt better than by chance:", last.TrainAcc > 0.5)
	// Output: [pizza steak sushi] learnt better than by chance: true
}
