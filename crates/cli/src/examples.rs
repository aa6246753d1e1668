//! The examples at the end of each command's long help.

pub(crate) const SAIL: &str = "\
Examples:
  Encode images and captions, train a head and evaluate it:
    sail encode images --model facebook/dinov2-base --input photos/ --out images
    sail encode texts --model sentence-transformers/all-MiniLM-L6-v2 --input captions.jsonl \\
        --key-column key --caption-column caption --out texts
    sail train --images images --texts texts --holdout 1000 --out run
    sail eval retrieval --head run/head.safetensors --images images --texts texts --holdout

Exit codes: 0 success, 1 failure, 2 invalid usage, 130 interrupted.";

pub(crate) const ENCODE: &str = "\
Examples:
  sail encode images --model facebook/dinov2-base --input photos/ --out images
  sail encode texts --model sentence-transformers/all-MiniLM-L6-v2 --input captions.jsonl --out texts";

pub(crate) const ENCODE_IMAGES: &str = "\
Examples:
  Encode a folder of images with a model of the hub:
    sail encode images --model facebook/dinov2-base --input photos/ --out images

  Encode with a fixed revision of the model, on a GPU:
    sail encode images --model facebook/dinov2-base@main --device cuda:0 --input photos/ --out images

  Show the number of records and the size of the store, without writing it:
    sail encode images --model facebook/dinov2-base --input photos/ --out images --dry-run

  Encode four layers in one pass, for a probe to select from:
    sail encode images --model facebook/dinov2-base --input photos/ --layers last,-2,-4,-6 --out stores/dinov2

  Encode all tokens of each image, for a head on tokens:
    sail encode images --model facebook/dinov2-base --input photos/ --pooling tokens --dtype int8 --out tokens

  Encode the second quarter of a data set, on the second of four machines:
    sail encode images --model models/dinov2 --input shards/ --part 2/4 --out part-2";

pub(crate) const ENCODE_TEXTS: &str = "\
Examples:
  Encode the captions of a table, with the keys of their images:
    sail encode texts --model sentence-transformers/all-MiniLM-L6-v2 --input captions.csv \\
        --key-column image --caption-column caption --out texts

  Put another prompt than the model's default before every caption:
    sail encode texts --model intfloat/multilingual-e5-small --input captions.jsonl --prompt \"query: \" --out texts

  Show the number of records and the size of the store, without writing it:
    sail encode texts --model models/minilm --input captions.jsonl --out texts --dry-run";

pub(crate) const TRAIN: &str = "\
Examples:
  Train with the default settings and evaluate on 1000 held-out pairs:
    sail train --images images --texts texts --holdout 1000 --out run

  Train on features in a safetensors file, with an HTML report:
    sail train --images data.safetensors:image --texts data.safetensors:text --projector glu --width 2 \\
        --dim 512 --batch 370 --epochs 50 --lr 1e-4 --holdout 370 --out run --report run.html

  Continue an interrupted run:
    sail train --images images --texts texts --holdout 1000 --out run --resume

  Compare learning rates and widths:
    sail train --images images --texts texts --holdout 1000 --sweep lr=1e-5,1e-4 --sweep width=4,8 --out sweep

  Train with large batches in 8 GiB of memory:
    sail train --images images --texts texts --batch 32768 --memory 8GiB --out run

  Train adapters of the last two blocks of the image encoder with the head, from the token states before them:
    sail train --images tokens/minus-3 --texts texts --lora-image 8:2 --vision models/dinov2 --memory 8GiB --out adapted";

pub(crate) const FIT: &str = "\
Examples:
  sail fit cca --images images --texts texts --holdout 1000 --out cca.safetensors
  sail fit translate --head run/head.safetensors --from dinov3 --to dinov2 --out translated.safetensors";

pub(crate) const FIT_PROCRUSTES: &str = "\
Examples:
  sail fit procrustes --images images --texts texts --holdout 1000 --out procrustes.safetensors";

pub(crate) const FIT_CCA: &str = "\
Examples:
  Choose the regularization by cross-validation:
    sail fit cca --images images --texts texts --holdout 1000 --out cca.safetensors

  State the regularization and the dimension:
    sail fit cca --images images --texts texts --regularization 0.1 --dim 256 --out cca.safetensors";

pub(crate) const FIT_CSA: &str = "\
Examples:
  sail fit csa --images images --texts texts --dim 256 --holdout 1000 --out csa.safetensors";

pub(crate) const FIT_RIDGE: &str = "\
Examples:
  Map images into the space of the texts:
    sail fit ridge --images images --texts texts --holdout 1000 --out ridge.safetensors

  Map texts into the space of the images:
    sail fit ridge --images images --texts texts --direction text-to-image --out ridge.safetensors";

pub(crate) const FIT_TRANSLATE: &str = "\
Examples:
  Use a head that was trained on DINOv2 with DINOv3, from both features of the same images:
    sail fit translate --head run/head.safetensors --from stores/dinov3 --to stores/dinov2 --out dinov3.safetensors";

pub(crate) const PROBE: &str = "\
Examples:
  Compare two image and two text encoders:
    sail probe --images dinov2=stores/dinov2 --images vit=stores/vit \\
        --texts minilm=stores/minilm --texts mpnet=stores/mpnet --report probe.html

  Select the best of several layers, whose features are in one folder:
    sail probe --images dinov2=features/dinov2-layers --texts minilm=stores/minilm

  Resume a probe whose finished parts are kept in a folder:
    sail probe --images stores/dinov2 --texts stores/minilm --texts stores/mpnet --out probe --resume";

pub(crate) const EVAL: &str = "\
Examples:
  sail eval retrieval --head run/head.safetensors --images images --texts texts
  sail eval classify --head run/head.safetensors --data clip-benchmark/wds_imagenetv2 --report classes.html";

pub(crate) const RETRIEVAL: &str = "\
Examples:
  Evaluate on the held-out pairs of the training:
    sail eval retrieval --head run/head.safetensors --images images --texts texts --holdout

  Write a report that shows the images:
    sail eval retrieval --head run/head.safetensors --images images --texts texts \\
        --report retrieval.html --image-dir photos/";

pub(crate) const ZERO_SHOT: &str = "\
Examples:
  Classify images by the prompts of a store, with the classes of an integer tensor:
    sail eval zero-shot --head run/head.safetensors --images images --prompts prompts \\
        --labels labels.safetensors:labels

  Take the classes from keys such as CLASS/NAME:
    sail eval zero-shot --head run/head.safetensors --images images --prompts prompts --labels folders";

pub(crate) const FEATURES: &str = "\
Examples:
  Evaluate the features of two image folders with class folders:
    sail eval features --train stores/train --test stores/test

  Take the classes from integer tensors:
    sail eval features --train train.safetensors:image --train-labels train.safetensors:class \\
        --test test.safetensors:image --test-labels test.safetensors:class";

pub(crate) const WINOGROUND: &str = "\
Examples:
  sail eval winoground --head run/head.safetensors --data facebook/winoground

  With a data set in a folder, and the backbones in others than the head records:
    sail eval winoground --head run/head.safetensors --data winoground/ --vision models/dinov2 --text models/minilm";

pub(crate) const MMVP: &str = "\
Examples:
  sail eval mmvp --head run/head.safetensors --data MMVP/MMVP_VLM";

pub(crate) const SUGARCREPE: &str = "\
Examples:
  sail eval sugarcrepe --head run/head.safetensors --data sugar-crepe/data --image-dir val2017";

pub(crate) const CAPTIONS: &str = "\
Examples:
  sail eval captions --head run/head.safetensors --data dataset_coco.json --image-dir coco --report captions.html";

pub(crate) const CLASSIFY: &str = "\
Examples:
  Classify a data set of the hub:
    sail eval classify --head run/head.safetensors --data clip-benchmark/wds_imagenetv2 --report classes.html

  Classify a folder of class folders with an ensemble of two prompts:
    sail eval classify --head run/head.safetensors --data animals/ --template \"a photo of a {}.\" \\
        --template \"a drawing of a {}.\"";

pub(crate) const SEGMENT: &str = "\
Examples:
  Evaluate on ADE20K with the paper's attention, with a report of overlays:
    sail eval segment --head run/head.safetensors --data ADEChallengeData2016 --layout ade20k \\
        --attention query-query --report segments.html

  Evaluate on a folder of images and masks, and keep the features for the next head:
    sail eval segment --head run/head.safetensors --data scenes/ --layout folder --cache windows";

pub(crate) const HEAD: &str = "\
Examples:
  sail head show run/head.safetensors
  sail head import sail_dinov2l_gte.pt --out head.safetensors
  sail head export run/head.safetensors --out head.pt";

pub(crate) const HEAD_IMPORT: &str = "\
Examples:
  Import a head of the authors, with the backbones that it was trained on:
    sail head import sail_dinov2l_gte.pt --vision facebook/dinov2-large \\
        --text Alibaba-NLP/gte-large-en-v1.5 --out head.safetensors

  Keep the head of a published pair as a file:
    sail head import sail-l-gte --out sail-l-gte.safetensors

  Import a checkpoint of their training, and compare it with its settings:
    sail head import checkpoints/epoch_64.pt --config star.yaml --out head.safetensors";

pub(crate) const HEAD_EXPORT: &str = "\
Examples:
  Write a head for the authors' code, or for PyTorch (see `examples/load_head.py`):
    sail head export run/head.safetensors --out head.pt

  Write the same tensors as safetensors:
    sail head export run/head.safetensors --out exported.safetensors";

pub(crate) const HEAD_SHOW: &str = "\
Examples:
  sail head show run/head.safetensors
  sail head show run/head.safetensors --json";

pub(crate) const STORE: &str = "\
Examples:
  sail store show images
  sail store stats images
  sail store verify images
  sail store filter images --pattern \"train/*\" --out train-images
  sail store subset images --count 10000 --out some-images
  sail store merge part-1 part-2 --out images
  sail store export images --out images.parquet";

pub(crate) const STORE_MERGE: &str = "\
Examples:
  Merge the parts that `sail encode --part` wrote:
    sail store merge part-1 part-2 part-3 part-4 --out images";

pub(crate) const STORE_VERIFY: &str = "\
Examples:
  sail store verify images";

pub(crate) const STORE_SHOW: &str = "\
Examples:
  sail store show images
  sail store show data.safetensors:image --rows 2
  sail store show images --json";

pub(crate) const STORE_STATS: &str = "\
Examples:
  sail store stats images
  sail store stats features.safetensors:image --json";

pub(crate) const STORE_FILTER: &str = "\
Examples:
  Keep the images that have a caption:
    sail store filter images --keys texts --out images-with-captions

  Keep the rows of a folder, or all others:
    sail store filter images --pattern \"train/*\" --out train-images
    sail store filter images --pattern \"train/*\" --invert --out other-images

  Leave out the keys that a file lists, and rows that are not finite:
    sail store filter images --keys blurred.txt --invert --usable --out clean-images

  Keep some rows of a file, whose keys are the numbers of its rows:
    sail store filter data.safetensors:image --keys rows.txt --modality image --out some-images";

pub(crate) const STORE_SUBSET: &str = "\
Examples:
  Keep the same 10,000 items on both sides:
    sail store subset images --count 10000 --seed 7 --out some-images
    sail store subset texts --count 10000 --seed 7 --out some-texts

  Keep a tenth of the keys, or the first rows:
    sail store subset images --fraction 0.1 --out tenth
    sail store subset images --range 0..1000 --out first";

pub(crate) const STORE_EXPORT: &str = "\
Examples:
  Write a table with the columns `key` and `embedding`:
    sail store export images --out images.parquet

  Write a NumPy array, and the keys of its rows beside it:
    sail store export images --out images.npy

  Write the vectors that FAISS reads:
    sail store export data.safetensors:image --format fvecs --out images.fvecs";

pub(crate) const SEARCH: &str = "\
Examples:
  Find images by words:
    sail search index a red car in the snow

  Find images by an image, by sums, and by an image of the index:
    sail search index photo.jpg
    sail search index a dog - grass + 0.5*photo.jpg
    sail search index --like cats/1.jpg

  Search a part of the index, and write a page with the images:
    sail search index a portrait -k 50 --filter \"key=2024/*\" --filter class=family --report portraits.html

  Copy the files that are found:
    sail search index a blurred photo -k 100 -0 > found
    xargs -0 -a found cp -t blurred/";

pub(crate) const DEDUP: &str = "\
Examples:
  Find near-duplicates, look at them, and write a store without them:
    sail dedup images --threshold 0.96 --out unique.txt --report duplicates.html --image-dir photos/
    sail store filter images --keys unique.txt --out unique-images

  List all clusters of near-duplicate captions:
    sail dedup texts --clusters clusters.jsonl

  Of pairs, leave out those whose image and caption are both near those of another, and train on the others:
    sail dedup images --texts texts --match both --out unique.txt
    sail train --images images --texts texts --keys unique.txt --out run

  Compare the images of an index:
    sail dedup index --out unique.txt --report duplicates.html";

pub(crate) const SCORE: &str = "\
Examples:
  Look at the distribution of the similarities:
    sail score --head run/head.safetensors --images images --texts texts --report scores.html --image-dir photos/

  Keep the best 30 % of the pairs:
    sail score --head run/head.safetensors --images images --texts texts --quantile 0.7 --out best.txt
    sail store filter images --keys best.txt --out best-images
    sail store filter texts --keys best.txt --out best-texts

  Compare the images of an index with their captions:
    sail score index --report scores.html";

pub(crate) const COVERAGE: &str = "\
Examples:
  Count the images of each concept of a list:
    sail encode texts --model sentence-transformers/all-MiniLM-L6-v2 --input concepts.csv \\
        --key-column name --caption-column prompt --out concepts
    sail coverage --head run/head.safetensors --images images --concepts concepts --report coverage.html

  Count the images of an index, with a concept in each line of a text file:
    sail coverage index --concepts concepts.txt";

pub(crate) const INDEX: &str = "\
Examples:
  Index a folder of images with a trained head and the encoders that it names:
    sail index photos/ --head run/head.safetensors --out index

  The same command again adds, replaces and removes what has changed since. With captions and columns of a table:
    sail index photos/ --head run/head.safetensors --captions photos.csv --columns author,year --out index

  Show what would be indexed:
    sail index shards/ --head sail-l-gte --out index --dry-run

  Show what an index holds:
    sail index show index";

pub(crate) const INDEX_SHOW: &str = "\
Examples:
  sail index show index
  sail index show index --json";

pub(crate) const INDEX_VERIFY: &str = "\
Examples:
  sail index verify index";

pub(crate) const INDEX_MERGE: &str = "\
Examples:
  Join the indexes of two machines, each of one half of the images:
    sail index merge part-1 part-2 --out index";

pub(crate) const MODELS: &str = "\
Examples:
  sail models
  sail models show facebook/dinov2-base
  sail models check sentence-transformers/all-MiniLM-L6-v2";

pub(crate) const MODELS_SHOW: &str = "\
Examples:
  sail models show facebook/dinov2-base
  sail models show models/minilm --json";

pub(crate) const MODELS_CHECK: &str = "\
Examples:
  Compare with the reference that is known for these weights:
    sail models check sentence-transformers/all-MiniLM-L6-v2

  Compare a model of your own with Python:
    sail models check models/vit --emit-python > row.py
    python row.py > row.json
    sail models check models/vit --expect row.json";

#[cfg(feature = "serve")]
pub(crate) const SERVE: &str = "\
Examples:
  Serve a page and an API for this machine, at http://127.0.0.1:8080:
    sail serve photos.index

  Serve them to others, with a token in the environment variable SAIL_TOKEN:
    sail serve photos.index --bind 0.0.0.0:8080 --token secret

  Search by the API:
    curl http://127.0.0.1:8080/v1/search --json '{\"text\": \"a red car\", \"k\": 5}'";

pub(crate) const DEVICES: &str = "\
Examples:
  sail devices
  sail devices --json";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  sail completions bash > ~/.local/share/bash-completion/completions/sail
  sail completions fish > ~/.config/fish/completions/sail.fish";

pub(crate) const MAN: &str = "\
Examples:
  sail man man1";
