"""The files of a target as they would be: on disk, in a zip and in memory, without and with the sparsity."""

from collections.abc import Callable

from safedeploy.export.targets import FileName, precision_of, runtime_of
from safedeploy.plan import sizes
from safedeploy.plan.layers import Layer
from safedeploy.plan.network import Network
from safedeploy.plan.rules import rule_for
from safedeploy.results import Estimate, PlannedFile
from safedeploy.results.plan import Precision, Resource, Structure

RESOURCES: tuple[Resource, ...] = ("time", "memory", "disk", "download")
FLOAT = 4  # bytes of a bias, int32 in an int8 file

DENSE_DISK = "{size} B a weight and 4 B a bias; operators and names as in like files"
ENCODED_DISK = (
    "1.12 × log2 of the ways to choose the places, {size} B a kept weight and 4 B a bias; operators and names as in"
    " like files"
)
DOWNLOAD = "a random sample of each layer deflated at level 9"
RESIDENT = "{size} B a weight after loading; activations and the runtime come on top"


def planned_file(name: FileName, structure: Structure, network: Network, *, encode: bool) -> PlannedFile:
    """encode: whether the target has sparse ONNX files encoded."""
    runtime, precision = runtime_of(name), precision_of(name)
    size = sizes.VALUE_BYTES[precision]
    zeros = any(network.kept[layer.name] < layer.weights for layer in network.planned)
    encoded = zeros and runtime == "onnxruntime" and encode
    macs = sum(layer.macs for layer in network.layers)
    left = sum(layer.macs for layer in network.planned)
    disk = dense_disk(name, network.planned, network.planned_others)
    download = dense_download(name, network.planned, network.planned_others, network.density)
    if encoded:
        smaller = encoded_disk(name, network)
        if smaller < disk:
            disk, download = smaller, encoded_download(name, network)
    return PlannedFile(
        name=name,
        runtime=runtime,
        precision=precision,
        disk=Estimate(
            dense=dense_disk(name, network.layers, network.others),
            planned=disk,
            rule=(ENCODED_DISK if encoded else DENSE_DISK).format(size=size),
        ),
        download=Estimate(
            dense=dense_download(name, network.layers, network.others, lambda layer: 1.0),
            planned=download,
            rule=DOWNLOAD,
        ),
        resident=Estimate(
            dense=sum(layer.weights for layer in network.layers) * size,
            planned=sum(layer.weights for layer in network.planned) * size,
            rule=RESIDENT.format(size=size),
        ),
        multiplied=left / macs if macs else 1.0,
        rules={of: rule_for(runtime, structure, of, precision).name for of in RESOURCES},
    )


def dense_disk(file: FileName, layers: list[Layer], others: int) -> int:
    """Every weight stored, zeros too."""
    size = sizes.VALUE_BYTES[precision_of(file)]
    return sum(layer.weights for layer in layers) * size + FLOAT * others + sizes.graph_bytes(file, *_extent(layers))


def dense_download(file: FileName, layers: list[Layer], others: int, density: Callable[[Layer], float]) -> int:
    """A zip of the file that stores every weight."""
    precision = precision_of(file)
    weights = sum(
        layer.weights * sizes.zip_bytes_a_weight(density(layer), _fan_in(layer), precision, zeros=True)
        for layer in layers
    )
    return round(weights + FLOAT * others * sizes.FLOAT_ZIP) + sizes.graph_zip_bytes(file, *_extent(layers))


def bound(precision: Precision, network: Network) -> float:
    """Bytes below which no file can hold these weights: places at the entropy bound, values and biases as they are."""
    return FLOAT * network.planned_others + sum(
        sizes.encoded_bytes(layer.weights, network.kept[layer.name], precision) for layer in network.planned
    )


def encoded_disk(file: FileName, network: Network) -> int:
    least = bound(precision_of(file), network)
    places = sum(sizes.position_bytes(layer.weights, network.kept[layer.name]) for layer in network.planned)
    codes = least + (sizes.PLACES - 1) * places
    return round(codes) + sizes.graph_bytes(file, *_extent(network.planned), encoded=True)


def encoded_download(file: FileName, network: Network) -> int:
    """A zip of the encoded file: places do not shrink any more, values do a little."""
    precision = precision_of(file)
    weights = 0.0
    for layer in network.planned:
        kept = network.kept[layer.name]
        values = sizes.zip_bytes_a_weight(network.density(layer), _fan_in(layer), precision, zeros=False)
        weights += sizes.PLACES * sizes.position_bytes(layer.weights, kept) + kept * values
    others = FLOAT * network.planned_others * sizes.FLOAT_ZIP
    return round(weights + others) + sizes.graph_zip_bytes(file, *_extent(network.planned), encoded=True)


def _extent(layers: list[Layer]) -> tuple[int, int]:
    return len(layers), sum(layer.outputs for layer in layers)


def _fan_in(layer: Layer) -> int:
    return max(1, layer.weights // layer.shape[0])
