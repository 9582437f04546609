"""The driver, the GPU, its memory, and what libraries say when one of them fails."""

from __future__ import annotations

from ._check import Check

_MEMORY = (
    "See what uses the GPU's memory: `nvidia-smi`; end what should not.",
    "Free what CuPy keeps: `cupy.get_default_memory_pool().free_all_blocks()`; with other "
    "libraries in the process, limit it by CUPY_GPU_MEMORY_LIMIT.",
    "Work on smaller pieces.",
)
_DRIVER = (
    "See whether `nvidia-smi` works; if not, restart the machine, or install the driver again.",
    "In a container, start it with GPUs (`docker run --gpus all`).",
)

DEVICES = (
    Check(
        "no-driver",
        "no NVIDIA driver is found",
        "There is no NVIDIA driver here, or this process cannot see it.",
        (
            "On a machine without a GPU there is nothing to do: CuPy can be imported, but not "
            "used.",
            "Else install the NVIDIA driver; in a container, start it with GPUs (`docker run "
            "--gpus all`).",
        ),
        says=("cudaErrorInsufficientDriver",),
        given=lambda machine: machine.here and not machine.driver and not machine.rocm,
        source="seen on machines without a GPU",
    ),
    Check(
        "old-driver",
        "the NVIDIA driver is older than the CUDA that this CuPy is for",
        "The driver supports up to {driver}, and this CuPy is for {cuda}.",
        (
            "Install the wheel for this driver: {reinstall}.",
            "Or upgrade the driver.",
        ),
        says=("cudaErrorInsufficientDriver",),
        given=lambda machine: machine.here and bool(machine.driver),
        source="read in CUDA",
    ),
    Check(
        "insufficient-driver",
        "no NVIDIA driver, or one older than CuPy's CUDA",
        "CUDA says this in two cases: there is no driver (no GPU, a container without GPUs), or "
        "the driver is older than the CUDA that CuPy uses.",
        (
            "See whether `nvidia-smi` works, and which CUDA it shows.",
            "If it does not work: install the driver, or start the container with GPUs (`docker "
            "run --gpus all`).",
            "If its CUDA is older than the one in the wheel's name: upgrade the driver, or "
            "install the wheel for that CUDA.",
        ),
        says=("cudaErrorInsufficientDriver",),
        given=lambda machine: not machine.here,
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorInsufficientDriver: "
        "CUDA driver version is insufficient for CUDA runtime version",
        source="nagadomi/nunif#702",
    ),
    Check(
        "no-device",
        "the driver shows no GPU to this process",
        "The driver is there, but it lists no GPU for this process: {visible}; a container or a "
        "job may have no GPUs; in WSL2, another libcuda than the one in /usr/lib/wsl/lib may come "
        "first.",
        (
            "Unset CUDA_VISIBLE_DEVICES, or set it to a GPU that `nvidia-smi -L` lists.",
            "Ask the container (`--gpus all`) or the job (`--gres=gpu:1`) for a GPU.",
            "In WSL2, put /usr/lib/wsl/lib first in LD_LIBRARY_PATH.",
        ),
        says=("cudaErrorNoDevice", "CUDA_ERROR_NO_DEVICE"),
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorNoDevice: no "
        "CUDA-capable device is detected",
        source="read in CUDA",
    ),
    Check(
        "no-rocm-device",
        "ROCm shows no GPU to this process",
        "ROCm lists no AMD GPU for this process.",
        (
            "See whether `rocminfo` lists the GPU. The user must be in the groups `render` and "
            "`video`.",
            "In a container, pass the devices: `--device=/dev/kfd --device=/dev/dri`.",
            "Unset HIP_VISIBLE_DEVICES and ROCR_VISIBLE_DEVICES, or set them to a GPU that exists.",
        ),
        says=("hipErrorNoDevice",),
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: hipErrorNoDevice: no "
        "ROCm-capable device is detected",
        source="read in HIP",
    ),
    Check(
        "spacy-no-gpu",
        "spaCy found no GPU that CuPy can use",
        "spaCy says this if CuPy is missing, fails, or finds no GPU, and hides which.",
        (
            'See the reason: `python -c "import cupy; cupy.zeros(1)"`, or `cupy-compat doctor '
            "--gpu`.",
        ),
        says=(
            "No GPU devices detected",
            "GPU is not accessible. Was the library installed correctly",
        ),
        example="ValueError: GPU is not accessible. Was the library installed correctly?",
        source="explosion/spaCy#3496",
        shared=True,
        after=("*",),
    ),
    Check(
        "invalid-device",
        "the program asks for a GPU that is not there",
        "There is no GPU of that number for this process. CUDA_VISIBLE_DEVICES renumbers GPUs "
        "from 0.",
        ("Use a number that `nvidia-smi -L` lists, or change CUDA_VISIBLE_DEVICES.",),
        says=("cudaErrorInvalidDevice:", "CUDA_ERROR_INVALID_DEVICE"),
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorInvalidDevice: invalid "
        "device ordinal",
        source="read in CUDA",
    ),
    Check(
        "fabric-manager",
        "the machine's NVSwitch is not ready",
        "On machines whose GPUs are joined by NVSwitch (DGX, HGX), CUDA works only while NVIDIA's "
        "Fabric Manager runs, in exactly the driver's version.",
        (
            "`sudo systemctl restart nvidia-fabricmanager`, and see its status.",
            "Install the nvidia-fabricmanager of the driver's version.",
        ),
        says=("cudaErrorSystemNotReady", "CUDA_ERROR_SYSTEM_NOT_READY"),
        example="cupy.cuda.runtime.CUDARuntimeError: cudaErrorSystemNotReady: system not yet "
        "initialized",
        source="cupy/cupy#2845",
    ),
    Check(
        "driver-mismatch",
        "parts of the NVIDIA driver are of different versions",
        "The driver's library and the driver in the kernel differ. Most often the driver was "
        "upgraded and the machine not restarted, or a container brings a driver's library of its "
        "own.",
        ("Restart the machine.", "In a container, remove the driver's libraries from its image."),
        says=(
            "cudaErrorSystemDriverMismatch",
            "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
            "Driver/library version mismatch",
        ),
        example="CUDARuntimeError: cudaErrorSystemDriverMismatch: system has unsupported display "
        "driver / cuda driver combination",
        source="read in CUDA",
    ),
    Check(
        "forward-compatibility",
        "CUDA's compatibility package does not work on this GPU",
        "A cuda-compat library, often of a container, stands in for the driver's, and works on "
        "data-centre GPUs only.",
        (
            "Upgrade the driver, or use a container for the CUDA that the driver supports.",
            "Take the folder `compat` out of LD_LIBRARY_PATH.",
        ),
        says=(
            "cudaErrorCompatNotSupportedOnDevice",
            "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
        ),
        example="CUDARuntimeError: cudaErrorCompatNotSupportedOnDevice: forward compatibility was "
        "attempted on non supported HW",
        source="read in CUDA",
    ),
    Check(
        "driver-stub",
        "a stand-in for a library of CUDA is loaded",
        "The toolkit's folder `stubs` holds empty libraries, for linking only, and the loader "
        "found one of them before the real one.",
        ("Take the folders named `stubs` out of LD_LIBRARY_PATH.",),
        says=(
            "cudaErrorStubLibrary",
            "CUDA_ERROR_STUB_LIBRARY",
            "using the stub version of",
        ),
        example="CUDARuntimeError: cudaErrorStubLibrary: CUDA driver is a stub library",
        source="read in CUDA",
    ),
    Check(
        "container-driver",
        "the driver's libraries in a container do not fit the driver",
        "CUDA cannot start, since the driver's library lacks a symbol. It happens in Docker on "
        "WSL2 after the driver for Windows was upgraded and Docker or its toolkit was not.",
        (
            "Upgrade Docker Desktop, or the NVIDIA container toolkit, and restart it.",
            "Outside of a container: restart the machine after an upgrade of the driver.",
        ),
        says=("cudaErrorSymbolNotFound", "CUDA_ERROR_NOT_FOUND"),
        needs=("getdevicecount", "getdevice", "cuinit"),
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorSymbolNotFound: named "
        'symbol not found\n  File "x.pyx", in cupy_backends.cuda.api.runtime.getDeviceCount',
        source="open-webui/open-webui#2527",
        after=("kernel-name",),
    ),
    Check(
        "old-driver-call",
        "the driver is too old for a call of the CUDA runtime",
        "CuPy or a library uses a feature that came with a newer driver than the installed one.",
        ("Upgrade the NVIDIA driver.", "Or use the CuPy for an older CUDA."),
        says=("cudaErrorCallRequiresNewerDriver",),
        example="CUDARuntimeError: cudaErrorCallRequiresNewerDriver: API call is not supported in "
        "the installed CUDA driver",
        source="read in CUDA",
    ),
    Check(
        "busy",
        "the GPU is busy or in exclusive mode",
        "Another process holds the GPU, and its compute mode lets only one in; or the process has "
        "just ended and the driver has not released it yet.",
        (
            "See who uses the GPU, and the compute mode: `nvidia-smi`.",
            "Set the mode back: `sudo nvidia-smi -c DEFAULT`, or start one process a GPU.",
        ),
        says=(
            "cudaErrorDevicesUnavailable",
            "CUDA_ERROR_DEVICE_UNAVAILABLE",
        ),
        example="CUDARuntimeError('cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are "
        "busy or unavailable')",
        source="rapidsai/dask-cuda#1342",
    ),
    Check(
        "fork",
        "CUDA cannot start in this process",
        "Most often the process was forked from one that had used CUDA already, as "
        "`multiprocessing` does on Linux: CUDA does not survive a fork. If there was no fork, the "
        "driver is unusable.",
        (
            'Start workers afresh: `multiprocessing.set_start_method("spawn")`, or use no CUDA '
            "before the fork (an import that touches the GPU counts).",
            "If the process is not a worker: see whether `nvidia-smi` works.",
        ),
        says=("cudaErrorInitializationError", "CUDA_ERROR_NOT_INITIALIZED"),
        example="cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorInitializationError: "
        "initialization error",
        source="airspeed-velocity/asv#1565",
    ),
    Check(
        "unknown-error",
        "the NVIDIA driver is in an unusable state",
        "CUDA could not start and does not know why. It happens after a machine slept, after the "
        "driver was upgraded without a restart, on laptops with two GPUs, and in containers that "
        "lack the device /dev/nvidia-uvm.",
        (
            *_DRIVER,
            "On Linux, `sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm` can save the "
            "restart.",
        ),
        says=("cudaErrorUnknown", "CUDA_ERROR_UNKNOWN"),
        example="CUDARuntimeError: cudaErrorUnknown: unknown error",
        source="explosion/spaCy#2343",
    ),
    Check(
        "operating-system",
        "the driver's call to the operating system failed",
        "The driver could not use its device files, or a limit of the system was reached.",
        _DRIVER,
        says=("cudaErrorOperatingSystem", "CUDA_ERROR_OPERATING_SYSTEM"),
        example="CUDARuntimeError: cudaErrorOperatingSystem: OS call failed or operation not "
        "supported on this OS",
        source="read in CUDA",
    ),
    Check(
        "hardware",
        "the GPU reports a fault of the hardware",
        "The GPU's memory has an error that cannot be corrected, or the GPU no longer answers.",
        (
            "Restart the machine; if it happens again, have the GPU, its power and its cooling "
            "checked (`nvidia-smi -q -d ECC`, `dmesg | grep Xid`).",
        ),
        says=(
            "cudaErrorECCUncorrectable",
            "CUDA_ERROR_ECC_UNCORRECTABLE",
            "cudaErrorHardwareStackError",
            "GPU has fallen off the bus",
        ),
        example="CUDARuntimeError: cudaErrorECCUncorrectable: uncorrectable ECC error encountered",
        source="read in CUDA",
    ),
    Check(
        "thrust-memory",
        "a sort got no memory, and its result is wrong or the process ended",
        "Thrust, which sorts for CuPy, could not allocate its workspace. CuPy before 14.1 ignores "
        "that: the result may be wrong. Since 14.1 it raises MemoryError.",
        (
            "Do not use the result.",
            "Upgrade to CuPy 14.1 or later: {upgrade}.",
            *_MEMORY,
        ),
        says=(
            "Exception ignored in: 'cupy.cuda.thrust.cupy_malloc'",
            "radix_sort: failed on",
            "merge_sort: failed on",
        ),
        example="Exception ignored in: 'cupy.cuda.thrust.cupy_malloc'",
        source="cupy/cupy#9894",
        printed=True,
    ),
    Check(
        "out-of-memory",
        "the GPU's memory is full",
        "CuPy asked for more memory than the GPU had free. Other processes, and other libraries "
        "in this one, use the same memory.",
        _MEMORY,
        says=(
            "OutOfMemoryError: Out of memory allocating",
            "cudaErrorMemoryAllocation",
            "CUDA_ERROR_OUT_OF_MEMORY",
            "hipErrorOutOfMemory",
            "hipErrorMemoryAllocation",
            "OutOfMemoryError: out of memory to allocate",
            "std::bad_alloc: out_of_memory",
        ),
        example="cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 800,000,512 bytes "
        "(allocated so far: 6,400,000,000 bytes).",
        source="cupy/cupy#9894",
        after=("thrust-memory",),
    ),
    Check(
        "bad-alloc",
        "native code could not allocate memory",
        "The memory of the GPU (the workspace of a sort, say) or that of the host is full.",
        _MEMORY,
        says=("MemoryError: std::bad_alloc", "an instance of 'std::bad_alloc'"),
        needs=("cupy",),
        example="MemoryError: std::bad_alloc\n"
        '  File "cupy/cuda/thrust.pyx", line 100, in cupy.cuda.thrust.sort',
        source="cupy/cupy#9899",
        after=("out-of-memory", "thrust-memory"),
    ),
    Check(
        "library-handle",
        "a library could not start on the GPU",
        "cuBLAS, cuRAND and other libraries need memory outside CuPy's pool when they start. Most "
        "often the GPU's memory is full; an unusable driver, or a GPU that this CUDA does not "
        "support, is possible too.",
        (
            *_MEMORY,
            "If the memory is free: see whether `nvidia-smi` works, and restart after a driver "
            "upgrade.",
        ),
        says=(
            "CUBLAS_STATUS_NOT_INITIALIZED",
            "CUBLAS_STATUS_ALLOC_FAILED",
            "CURAND_STATUS_INITIALIZATION_FAILED",
            "CURAND_STATUS_ALLOCATION_FAILED",
            "CUSOLVER_STATUS_NOT_INITIALIZED",
            "CUSOLVER_STATUS_ALLOC_FAILED",
            "CUSPARSE_STATUS_NOT_INITIALIZED",
            "CUSPARSE_STATUS_ALLOC_FAILED",
            "CUSPARSE_STATUS_INSUFFICIENT_RESOURCES",
            "CUFFT_ALLOC_FAILED",
            "CUFFT_SETUP_FAILED",
            "CUDNN_STATUS_NOT_INITIALIZED",
            "CUDNN_STATUS_ALLOC_FAILED",
        ),
        example="cupy_backends.cuda.libs.curand.CURANDError: CURAND_STATUS_INITIALIZATION_FAILED",
        source="explosion/spaCy#8272",
        after=("out-of-memory",),
    ),
    Check(
        "illegal-access",
        "a kernel accessed memory that is not its own",
        "A kernel of the program, of a library or of CuPy read or wrote outside its arrays, or "
        "crashed. CUDA reports it later than it happens, and everything in the process fails "
        "after it.",
        (
            "Find the kernel: run with CUDA_LAUNCH_BLOCKING=1, or under `compute-sanitizer python "
            "...`.",
            "Restart Python: this process cannot use the GPU any more.",
        ),
        says=(
            "cudaErrorIllegalAddress",
            "CUDA_ERROR_ILLEGAL_ADDRESS",
            "cudaErrorMisalignedAddress",
            "CUDA_ERROR_MISALIGNED_ADDRESS",
            "cudaErrorLaunchFailure",
            "CUDA_ERROR_LAUNCH_FAILED",
            "cudaErrorAssert",
            "CUDA_ERROR_ASSERT",
        ),
        example="CUDARuntimeError: cudaErrorIllegalAddress: an illegal memory access was "
        "encountered",
        source="read in CUDA",
    ),
    Check(
        "other-context",
        "a kernel, stream or event belongs to another CUDA context",
        "Another library (PyCUDA, TensorRT, the ZED SDK) made a context of its own current, or an "
        "object is used on another GPU than the one that it was made on.",
        (
            "Let the other library use the primary context (PyCUDA: `import "
            "pycuda.autoprimaryctx`), or pop its context before CuPy is called.",
            "With several GPUs, use each array, stream and kernel on its own: `with "
            "cupy.cuda.Device(n):`.",
        ),
        says=(
            "CUDA_ERROR_INVALID_HANDLE",
            "cudaErrorInvalidResourceHandle",
            "CUDA_ERROR_INVALID_CONTEXT",
            "CUDA_ERROR_CONTEXT_IS_DESTROYED",
        ),
        example="cupy_backends.cuda.api.driver.CUDADriverError: CUDA_ERROR_INVALID_HANDLE: invalid "
        "resource handle",
        source="cupy/cupy#5827",
        after=("illegal-access",),
    ),
    Check(
        "launch-timeout",
        "a kernel ran too long on a GPU that drives a display",
        "The operating system ends kernels that block the display for some seconds.",
        ("Launch smaller kernels, or use a GPU without a display.",),
        says=("cudaErrorLaunchTimeout", "CUDA_ERROR_LAUNCH_TIMEOUT"),
        example="CUDARuntimeError: cudaErrorLaunchTimeout: the launch timed out and was terminated",
        source="read in CUDA",
    ),
    Check(
        "own-launch-resources",
        "a kernel of CuPy itself was launched with more than the GPU has",
        "CuPy chose the size of the launch, not the program: it is a fault of this CuPy, or a "
        "consequence of threads that use one kernel at the same time.",
        ("Upgrade CuPy: {upgrade}.", "Else report it to CuPy with the whole traceback."),
        says=("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "cudaErrorLaunchOutOfResources"),
        needs=("_simplereductionkernel",),
        example="CUDADriverError: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources\n  File "
        '"x.pyx", in cupy._core._reduction._SimpleReductionKernel.__call__',
        source="cupy/cupy#8772",
    ),
    Check(
        "launch-resources",
        "a kernel was launched with more than the GPU has",
        "The block has more threads, registers or shared memory than this GPU allows.",
        ("Launch with fewer threads a block, or less shared memory.",),
        says=(
            "cudaErrorLaunchOutOfResources",
            "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
            "cudaErrorInvalidConfiguration",
        ),
        example="CUDADriverError: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources "
        "requested for launch",
        source="read in CUDA",
        after=("own-launch-resources",),
    ),
    Check(
        "not-supported",
        "the GPU or its driver does not support a feature",
        "The feature that was asked for (managed memory, the asynchronous pool, peer access and "
        "the like) is not available on this GPU, under this system or in this virtual machine.",
        ("Do without the feature: use CuPy's default memory pool, say.",),
        says=("cudaErrorNotSupported", "CUDA_ERROR_NOT_SUPPORTED"),
        example="CUDARuntimeError: cudaErrorNotSupported: operation not supported",
        source="read in CUDA",
    ),
    Check(
        "nccl",
        "NCCL could not set up or do its communication",
        "NCCL says why only if it is asked.",
        (
            "Run with NCCL_DEBUG=INFO, and read its last warnings.",
            "See that all processes use the same NCCL, and each its own GPU.",
        ),
        says=(
            "NCCL_ERROR_UNHANDLED_CUDA_ERROR",
            "NCCL_ERROR_SYSTEM_ERROR",
            "NCCL_ERROR_INTERNAL_ERROR",
            "NCCL_ERROR_INVALID_USAGE",
        ),
        example="cupy_backends.cuda.libs.nccl.NcclError: NCCL_ERROR_UNHANDLED_CUDA_ERROR: "
        "unhandled cuda error",
        source="read in NCCL",
        after=("out-of-memory", "library-handle"),
    ),
    Check(
        "library-internal",
        "an operation of a CUDA library failed inside",
        "The library does not say why. An earlier kernel that failed, memory that ran out, a GPU "
        "that this CUDA does not support, and libraries of different versions all end like this.",
        (
            "Run with CUDA_LAUNCH_BLOCKING=1: if another failure comes first, that one is the "
            "cause.",
            "See how much of the GPU's memory is free: `nvidia-smi`.",
            "Use one version of CUDA for all its libraries.",
        ),
        says=(
            "CUBLAS_STATUS_INTERNAL_ERROR",
            "CUBLAS_STATUS_EXECUTION_FAILED",
            "CUBLAS_STATUS_ARCH_MISMATCH",
            "CUSOLVER_STATUS_INTERNAL_ERROR",
            "CUSOLVER_STATUS_EXECUTION_FAILED",
            "CUSPARSE_STATUS_INTERNAL_ERROR",
            "CUSPARSE_STATUS_EXECUTION_FAILED",
            "CURAND_STATUS_INTERNAL_ERROR",
            "CURAND_STATUS_LAUNCH_FAILURE",
            "CURAND_STATUS_PREEXISTING_FAILURE",
            "CUFFT_INTERNAL_ERROR",
            "CUFFT_EXEC_FAILED",
            "CUDNN_STATUS_INTERNAL_ERROR",
            "CUDNN_STATUS_EXECUTION_FAILED",
        ),
        example="cupy.cuda.cublas.CUBLASError: CUBLAS_STATUS_EXECUTION_FAILED",
        source="read in CUDA",
        after=("illegal-access", "out-of-memory", "library-handle"),
    ),
)
